# Makes docs/protocol.md from common/wire/messages.tbl: `make protocol`. Only POSIX awk.
#
# A section comment `/* ---- title ---- */` becomes a heading, a MSG or RECORD a table of its fields;
# comments behind a row become its text. Text that runs over several lines stands before the first
# section and is not repeated here.

function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
function comment_of(line,    s) {
    if (!match(line, /\/\*.*\*\//)) return ""
    s = trim(substr(line, RSTART + 2, RLENGTH - 4))
    gsub(/\|/, "\\|", s)
    return s
}
function arguments_of(line, ret,    s) {
    s = line
    sub(/^[^(]*\(/, "", s)
    sub(/\).*$/, "", s)
    return split(s, ret, /, */)
}
function end_of_message() { if (fields == 0 && open) print "No fields.\n"; else if (open) print ""; open = 0 }

BEGIN {
    print "# Protocol"
    print ""
    print "Made by `make protocol` from `common/wire/messages.tbl`; change that file, not this one."
    print ""
    print "A frame is a header of 48 bytes, a body (one of the messages below) and a payload (bulk data); the header is drawn in"
    print "`common/wire/frame.h`. Numbers are little-endian. Fields follow one another without padding, in the order given; a field"
    print "came with the protocol version in its last column. All sizes are checked before they are used. A request is"
    print "answered by the message behind the arrow, or by `error_r`, whose code is the status in the frame's header"
    print "(`common/base/err.tbl`)."
    print ""
    print "| type | bytes |"
    print "|---|---|"
    print "| u8, u16, u32, u64, i64 | 1, 2, 4, 8, 8 |"
    print "| uuid | 16 |"
    print "| str | u16 size, then the bytes; no terminator |"
    print "| blob | u32 size, then the bytes |"
    print "| chunk | u64 inode, u32 index, u32 generation |"
    print "| shardref | u8 copies, u32 shard, u64 epoch |"
    print "| caller | u64 session, u64 sequence, u64 lowest_unanswered, u32 uid, u32 gid, str groups (u32 each) |"
    print "| attr | u64 inode, u32 mode, nlink, uid, gid, rdev, u64 size, i64 atime_ns, mtime_ns, ctime_ns, u64 version, data_version, u32 chunk_generation, u8 copies |"
    print "| list of RECORD | u32 count, then the records |"
    print ""
    print "*served by*: META a metaserver, CHUNK a chunkserver, ANY both, RAFT between metaservers, REPLY an answer, LOG only in the log."
    print "*repeat*: SAFE may be sent again, since it reads or the server knows the repeat; ONCE may not."
    print ""
}
/^\/\* ---- / {
    title = $0
    sub(/^\/\* -+ /, "", title)
    sub(/ -+ \*\/.*$/, "", title)
    print "## " toupper(substr(title, 1, 1)) substr(title, 2) "\n"
    next
}
/^RECORD\(/ {
    arguments_of($0, a)
    text = comment_of($0)
    print "### record " a[1] "\n"
    if (text != "") print toupper(substr(text, 1, 1)) substr(text, 2) ".\n"
    fields = 0; open = 1
    next
}
/^MSG\(/ {
    arguments_of($0, a)
    text = comment_of($0)
    print "### " a[1] " " a[2] "\n"
    printf "served by %s, repeat %s", a[3], a[4]
    if (match(text, /-> [a-z_]+/)) {
        printf ", answered by `%s`", substr(text, RSTART + 3, RLENGTH - 3)
        text = substr(text, 1, RSTART - 1) substr(text, RSTART + RLENGTH)
        sub(/^[;:,] */, "", text)
    }
    print (text == "" ? "." : ". " toupper(substr(text, 1, 1)) substr(text, 2) ".") "\n"
    fields = 0; open = 1
    next
}
/^ +(FIELD|LIST)\(/ {
    if (fields++ == 0) print "| field | type | since | |\n|---|---|---|---|"
    arguments_of($0, a)
    type = a[1]
    if ($0 ~ /^ +LIST/) type = "list of " type
    print "| " a[2] " | " type " | " a[3] " | " comment_of($0) " |"
    next
}
/^END\(/ { end_of_message() }
