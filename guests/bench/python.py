# What scripts do, for Python inside a guest: each part that the arguments name says when it begins and ends. The
# argument "least" does as little as possible.
import json
import sys
import time
import zlib

LEAST = "least" in sys.argv


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def py_fib(rounds):
    return fib(19 + rounds)


def py_float(rounds):
    # Springs between masses in a ring, stepped in time.
    place = [float(n % 7) - 3.0 for n in range(64)]
    speed = [0.0] * 64
    for _ in range(rounds * 20):
        for n in range(64):
            pull = place[n - 1] - 2.0 * place[n] + place[(n + 1) % 64]
            speed[n] += 0.01 * pull
        for n in range(64):
            place[n] += 0.01 * speed[n]
    return zlib.crc32(repr(place).encode())


def py_json(rounds):
    value = {"name": "hostel", "list": [{"n": n, "text": "x" * (n % 17), "half": n / 2} for n in range(60)]}
    checksum = 0
    for n in range(rounds * 4):
        value["round"] = n
        text = json.dumps(value, sort_keys=True)
        value = json.loads(text)
        checksum = zlib.crc32(text.encode(), checksum)
    return checksum


def py_dict(rounds):
    counts = {}
    seed = 1
    for _ in range(rounds * 2000):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        word = "w%d" % (seed >> 16 & 1023)
        counts[word] = counts.get(word, 0) + 1
    words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return zlib.crc32(repr(words[:50]).encode())


for part, rounds in ((py_fib, 8), (py_float, 200), (py_json, 120), (py_dict, 60)):
    if part.__name__ not in sys.argv:
        continue
    print("begin", part.__name__, flush=True)
    start = time.monotonic_ns()
    checksum = part(1 if LEAST else rounds)
    took = time.monotonic_ns() - start
    print("end %s %016x %d %d" % (part.__name__, checksum, rounds, took), flush=True)
