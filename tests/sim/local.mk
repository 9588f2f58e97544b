# Simulators of the pure rooms. The library is the simulated cluster without what it replicates.
check_LIBRARIES += %D%/libraftsim.a
%C%_libraftsim_a_SOURCES = \
    %D%/raft_sim.c %D%/raft_sim.h \
    %D%/raft_sim_disk.c \
    %D%/raft_sim_fault.c \
    %D%/raft_sim_member.c \
    %D%/raft_sim_node.c \
    %D%/raft_sim_oracle.c \
    %D%/raft_sim_world.c

check_PROGRAMS += %D%/sim-raft
%C%_sim_raft_SOURCES = %D%/raft_sim_client.c %D%/raft_sim_state.c
%C%_sim_raft_LDADD = %D%/libraftsim.a metaserver/raft/libraft.a $(BASE_LIBS)

check_PROGRAMS += %D%/sim-meta
%C%_sim_meta_SOURCES = \
    %D%/meta_sim.c %D%/meta_sim.h \
    %D%/meta_sim_client.c \
    %D%/meta_sim_replica.c \
    %D%/meta_sim_request.c \
    %D%/meta_sim_server.c
%C%_sim_meta_LDADD = %D%/libraftsim.a metaserver/raft/libraft.a $(HISTORY_LIBS) $(FS_LIBS)
EXTRA_DIST += %D%/plants.sh %D%/meta_plants.sh %D%/raft_coverage.sh
# tests/sim

# Placement at full size; by hand, with the times judged: make sim-ring
check_PROGRAMS += %D%/sim-ring
%C%_sim_ring_SOURCES = \
    %D%/ring_sim.c %D%/ring_sim.h \
    %D%/ring_sim_events.c \
    %D%/ring_sim_world.c
%C%_sim_ring_LDADD = $(RING_LIBS) -lm
sim-ring: %D%/sim-ring$(EXEEXT)
	TIMES=1 %D%/sim-ring$(EXEEXT)
.PHONY: sim-ring
# Chains, with a leader that never fails.
check_PROGRAMS += %D%/sim-chain
check_LIBRARIES += %D%/libchainsim.a
%C%_libchainsim_a_SOURCES = \
    %D%/chain_sim.c %D%/chain_sim.h \
    %D%/chain_sim_client.c \
    %D%/chain_sim_oracle.c \
    %D%/chain_sim_server.c \
    %D%/chain_sim_store.c \
    %D%/chain_sim_table.c \
    chunkserver/lease.c \
    chunkserver/views.c
%C%_sim_chain_SOURCES = \
    %D%/chain_sim_leader.c %D%/chain_sim_leader.h \
    %D%/chain_sim_main.c
%C%_sim_chain_LDADD = %D%/libchainsim.a $(CHAIN_LIBS)
# The planner over chains, with leaders that fail.
check_PROGRAMS += %D%/sim-planner
%C%_sim_planner_SOURCES = \
    %D%/planner_sim.c %D%/planner_sim.h \
    %D%/planner_sim_check.c \
    %D%/planner_sim_leader.c \
    %D%/planner_sim_log.c \
    %D%/planner_sim_operator.c
%C%_sim_planner_LDADD = %D%/libchainsim.a chunkserver/chain/libchain.a \
    metaserver/cluster/libcluster.a $(RING_LIBS)
EXTRA_DIST += tests/sim/chain_plants.sh tests/sim/planner_plants.sh tests/sim/planted.sh \
    tests/sim/ring_plants.sh
