"""The original's Spark job with its faults fixed, as plain sums, against the files that turnstile published.

    oracle.py SERVERS TOPIC MESSAGES LAKE

Reads the topic's messages, takes them apart by the original's steps, drops duplicates by ID, STATION and TIMESTAMP, sums
ENTRIES and EXITS by five-minute window and CA, UNIT, SCP, STATION, LINENAME, DIVISION, DESC, and compares every row of
every file. Messages without a TIMESTAMP can be in no window: they are counted. Prints what became of the messages.
"""

import csv
import glob
import gzip
import json
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from confluent_kafka import Consumer

servers, topic, count, lake = sys.argv[1:]
ZONE, SIZE = ZoneInfo("America/New_York"), timedelta(minutes=5)
NAMES = "CA UNIT SCP STATION LINENAME DIVISION DATE TIME DESC ENTRIES EXITS ID TIMESTAMP".split()
COLUMNS = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,START,END".split(",")


def messages():
    consumer = Consumer({"bootstrap.servers": servers, "group.id": f"{topic}-oracle", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    for _ in range(int(count)):
        message = consumer.poll(120)
        assert message is not None and message.error() is None, message and message.error()
        yield message.value().decode()
    consumer.close()


sums, seen, duplicates, without_time = defaultdict(lambda: [0, 0]), set(), 0, 0
for value in messages():
    if not value.startswith('"'):
        assert "TIMESTAMP" not in value.split("\n")[0]
        without_time += 1
        continue
    row = dict(zip(NAMES, json.loads(value).split(",")))
    same = (row["ID"], row["STATION"], row["TIMESTAMP"])
    if same in seen:
        duplicates += 1
        continue
    seen.add(same)
    at = datetime.strptime(row["TIMESTAMP"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE).astimezone(timezone.utc)
    start = at - (at - datetime(1970, 1, 1, tzinfo=timezone.utc)) % SIZE
    key = (start, *(row[name] for name in ("CA", "UNIT", "SCP", "STATION", "LINENAME", "DIVISION", "DESC")))
    sums[key][0] += int(row["ENTRIES"])
    sums[key][1] += int(row["EXITS"])

expected = {}
for (start, *keys, desc), (entries, exits) in sums.items():
    local_end = (start + SIZE).astimezone(ZONE)
    shown = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (start, start + SIZE)]
    date_time = [local_end.strftime("%m/%d/%Y"), local_end.strftime("%H:%M:%S")]
    row = tuple([*keys, *date_time, desc, str(entries), str(exits), *shown])
    assert row not in expected
    expected[row] = 1

found, files = {}, sorted(glob.glob(f"{lake}/*=*/*.csv.gz"))
for name in files:
    with gzip.open(name, "rt", newline="") as file:
        lines = csv.reader(file)
        assert next(lines) == COLUMNS, name
        for line in lines:
            assert tuple(line) not in found, line
            found[tuple(line)] = 1

assert found.keys() == expected.keys(), (sorted(found.keys() - expected.keys()), sorted(expected.keys() - found.keys()))
assert len(files) == len({key[0] for key in sums})
print(f"{len(found)} rows in {len(files)} windows agree; {duplicates} duplicates, {without_time} without a time")
