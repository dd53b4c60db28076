"""Reads a topic with confluent-kafka and takes its messages apart by the original's steps.

    original.py SERVERS TOPIC COUNT FORM         FORM: test-station (the Python producer's) or header-row (the C# one's)
"""

import csv
import json
import re
import sys
import uuid
from datetime import datetime

from confluent_kafka import Consumer

servers, topic, count, form = sys.argv[1:]
HEADER = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"

consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
seen = set()
for _ in range(int(count)):
    message = consumer.poll(120)
    assert message is not None and message.error() is None, message and message.error()
    key, value = message.key().decode(), message.value().decode()
    assert uuid.UUID(key).version == 4, key
    if form == "test-station":
        # The plain consumer's step, and the Spark job's: cast to text, split at commas, strip the quotes, cast.
        assert json.loads(value).split(",") == [field.strip('"') for field in value.split(",")]
        fields = [field.strip('"') for field in value.split(",")]
        assert len(fields) == 13, fields
        assert fields[11] == key and uuid.UUID(fields[11]).version == 4, fields
        at = datetime.strptime(fields[12], "%Y-%m-%d %H:%M:%S")
        stations, low, high = ("Test-Station1", "Test-Station2"), 5, 10
    else:
        header, row = value.split("\n")
        assert header == HEADER, header
        fields = list(csv.DictReader([header, row]))[0]
        assert list(fields) == HEADER.split(","), fields
        fields = list(fields.values())
        at = datetime.strptime(f"{fields[6]} {fields[7]}", "%m-%d-%y %H:%M:%S")
        stations, low, high = ("Test-Station",), 500, 1000
    assert fields[0] in ("A001", "A002") and fields[1] in ("R001", "R002") and fields[2] == "02-00-00", fields
    assert fields[3] in stations and fields[4:6] == ["456NQR", "BMT"] and fields[8] == "REGULAR", fields
    assert re.fullmatch(r"\d\d-\d\d-\d\d", fields[6]) and re.fullmatch(r"\d\d:\d\d:\d\d", fields[7]), fields
    assert at.strftime("%m-%d-%y %H:%M:%S") == f"{fields[6]} {fields[7]}", fields
    assert all(low <= int(number) <= high for number in fields[9:11]), fields
    seen.add(key)
consumer.close()
assert len(seen) == int(count), "keys repeat"
print(f"{count} messages as the original sends them")
