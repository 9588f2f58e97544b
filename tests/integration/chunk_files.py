"""Chunk files of targets, as docs/disk-formats.md says: found, parsed, checked, damaged. For servers that are stopped."""
import os, struct, zlib

HEADER, BLOCK, SECTOR, CRCS_IN_HEADER, TAIL_AT = 4096, 4096, 512, 889, 67112960
CRCS_IN_SECTOR = 127


def find(cluster, inode):
    """{(server, path)} of all chunk files of an inode, without trash."""
    found = []
    for server in sorted(os.listdir(cluster)):
        data = os.path.join(cluster, server, 'data')
        if not server.startswith('c') or not os.path.isdir(data):
            continue
        for folder in sorted(os.listdir(data)):
            if '-' not in folder or folder == 'trash' or not os.path.isdir(os.path.join(data, folder)):
                continue
            for name in sorted(os.listdir(os.path.join(data, folder))):
                parts = name.split('.')
                if len(parts) == 3 and int(parts[0], 16) == inode:
                    found.append((server, os.path.join(data, folder, name)))
    return found


def everything(cluster):
    """Paths of all chunk files of the cluster: {(folder, name): [(server, path)]}."""
    found = {}
    for server in sorted(os.listdir(cluster)):
        data = os.path.join(cluster, server, 'data')
        if not server.startswith('c') or not os.path.isdir(data):
            continue
        for folder in sorted(os.listdir(data)):
            path = os.path.join(data, folder)
            if '-' not in folder or not os.path.isdir(path):
                continue
            for name in sorted(os.listdir(path)):
                if len(name.split('.')) == 3:
                    found.setdefault((folder, name), []).append((server, os.path.join(path, name)))
    return found


class Chunk:
    """One chunk file, read into memory (chunks of tests are small: CRCs in the header page only)."""

    def __init__(self, path):
        self.path = path
        with open(path, 'rb') as f:
            self.bytes = bytearray(f.read())
        name = os.path.basename(path).split('.')
        self.id = tuple(int(part, 16) for part in name)

    def field(self, at, form):
        return struct.unpack_from('<' + form, self.bytes, at)[0]

    @property
    def version(self):
        return self.field(40, 'Q'), self.field(48, 'Q')

    @property
    def length(self):
        return self.field(56, 'I')

    def sector_crc(self, sector):
        seed = struct.pack('<QIII', *self.id, 0x80000000 | sector)
        return zlib.crc32(bytes(self.bytes[sector * SECTOR:sector * SECTOR + 508]), zlib.crc32(seed))

    def seal(self, sector):
        struct.pack_into('<I', self.bytes, sector * SECTOR + 508, self.sector_crc(sector))

    def block_crc(self, block):
        return self.field(SECTOR * (1 + block // CRCS_IN_SECTOR) + 4 * (block % CRCS_IN_SECTOR), 'I')

    def contents(self):
        """What a reader gets: a block without a CRC is zeros, whatever lies there."""
        data = bytearray(self.bytes[HEADER:HEADER + self.length].ljust(self.length, b'\0'))
        for block in range(min((self.length + BLOCK - 1) // BLOCK, CRCS_IN_HEADER)):
            if self.block_crc(block) == 0:
                end = min((block + 1) * BLOCK, self.length)
                data[block * BLOCK:end] = bytes(end - block * BLOCK)
        return bytes(data)

    def faults(self):
        """What is wrong with it; [] = every check passes."""
        wrong = []
        if len(self.bytes) < HEADER or self.bytes[:8] != b'CAIRNCHK':
            return ['no header']
        for sector in range(8):
            if self.field(sector * SECTOR + 508, 'I') != self.sector_crc(sector) and any(self.bytes[sector * SECTOR:(sector + 1) * SECTOR]):
                wrong.append(f'sector {sector}')
        if (self.field(16, 'Q'), self.field(24, 'I'), self.field(28, 'I')) != self.id:
            wrong.append('another chunk')
        for block in range(min((self.length + BLOCK - 1) // BLOCK, CRCS_IN_HEADER)):
            stored = self.block_crc(block)
            data = bytes(self.bytes[HEADER + block * BLOCK:HEADER + (block + 1) * BLOCK])
            crc = zlib.crc32(data.ljust(BLOCK, b'\0'), zlib.crc32(struct.pack('<QIII', *self.id, block))) or 1
            if stored != 0 and stored != crc:
                wrong.append(f'block {block}')
        return wrong

    def save(self, path=None):
        with open(path or self.path, 'r+b' if os.path.exists(path or self.path) else 'wb') as f:
            f.truncate(0)
            f.write(self.bytes)
