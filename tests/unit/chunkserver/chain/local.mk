# Unit tests of chunkserver/chain.
check_PROGRAMS += %D%/test-chunkserver-chain
%C%_test_chunkserver_chain_SOURCES = \
    %D%/fixture.c %D%/fixture.h \
    %D%/test_order.c %D%/test_pace.c \
    %D%/test_resync.c
%C%_test_chunkserver_chain_LDADD = $(TEST_LIBS) $(CHAIN_LIBS)
