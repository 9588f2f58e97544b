"""Every file of the manifest is there with its size and sha256; prints and fails on the first that is not."""
import hashlib, sys

mount, manifest = sys.argv[1:3]
count = 0
for line in open(manifest):
    if not line.endswith('\n'):
        break
    name, size, digest = line.split()
    data = open(mount + name, 'rb').read()
    if len(data) != int(size) or hashlib.sha256(data).hexdigest() != digest:
        print(f'{name}: size {len(data)} instead of {size}, or other content')
        sys.exit(1)
    count += 1
print(f'{count} files')
