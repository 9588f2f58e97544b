# Manual pages, and docs/protocol.md, which is made from the message table.
dist_man8_MANS = \
    %D%/man/cairn-inspect.8 \
    %D%/man/cairn-metaserver.8 \
    %D%/man/cairn-chunkserver.8 \
    %D%/man/cairn-mount.8
dist_doc_DATA = \
    README.md ARCHITECTURE.md CONTRIBUTING.md \
    %D%/client.md %D%/data-path.md %D%/disk-formats.md %D%/operations.md \
    %D%/placement.md %D%/protocol.md %D%/raft.md %D%/replicas.md %D%/testing.md
EXTRA_DIST += %D%/make-protocol.awk

protocol:
	$(AWK) -f $(srcdir)/docs/make-protocol.awk $(srcdir)/common/wire/messages.tbl > $(srcdir)/docs/protocol.md
.PHONY: protocol
