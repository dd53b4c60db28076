"""Sends the rows on standard input to a topic, as other people's programs do.

    sender.py SERVERS TOPIC plain CODEC          rows as they are or as JSON strings; headers; null keys; a tombstone
    sender.py SERVERS TOPIC avro REGISTRY FIRST  by Confluent's Avro serializer: FIRST rows of one writer, then of both in
                                                 turn; some that cannot be read when FIRST is 0
    sender.py SERVERS TOPIC json-schema REGISTRY by Confluent's JSON Schema serializer
    sender.py SERVERS TOPIC compacted            keyed, until compaction has left holes; prints the rows that are left
"""

import json
import sys
import time
from datetime import datetime, timezone

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

NAMES = "CA UNIT SCP STATION LINENAME DIVISION DATE TIME DESC ENTRIES EXITS ID TIMESTAMP".split()
PATIENCE = 120

servers, topic, how, *rest = sys.argv[1:]
rows = sys.stdin.read().splitlines()
failed = []


def producer(**settings):
    return Producer({"bootstrap.servers": servers, "linger.ms": 5, **settings})


def send(to, value, **more):
    to.produce(topic, value=value, on_delivery=lambda error, _: failed.append(error) if error else None, **more)
    to.poll(0)


def done(sent):
    assert sent.flush(PATIENCE) == 0 and not failed, failed


def fields(row):
    record = dict(zip(NAMES, row.split(",")))
    record["ENTRIES"], record["EXITS"] = int(record["ENTRIES"]), int(record["EXITS"])
    return record


def plain(codec):
    to = producer(**{"compression.type": codec})
    for n, row in enumerate(rows):
        key = None if n % 2 else row[:4]
        send(to, json.dumps(row) if n % 3 == 0 else row, key=key, headers=[("n", str(n)), ("nothing", None)])
    send(to, None, key="tombstone")
    done(to)


def avro(url, first_rows):
    """Of the second writer, fields come in another order, with more of them, and with other types; one of them is
    defined in a schema of its own."""
    text = [{"name": name, "type": "string"} for name in NAMES if name not in ("ENTRIES", "EXITS", "TIMESTAMP")]
    count = [{"name": name, "type": "long"} for name in ("ENTRIES", "EXITS")]
    at = {"name": "TIMESTAMP", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    first = {"type": "record", "name": "Reading", "namespace": "mta", "fields": text + count + [at]}
    names = {"name": "NAMES", "type": {"type": "array", "items": "string"}}
    operator = {"type": "record", "name": "Operator", "namespace": "mta", "fields": [names]}
    second = {
        "type": "record",
        "name": "Reading",
        "namespace": "mta",
        "fields": [
            {"name": "TIMESTAMP", "type": "string"},
            {"name": "EXITS", "type": ["null", "int"]},
            {"name": "OPERATOR", "type": ["null", "mta.Operator"], "default": None},
            {"name": "STATION", "type": ["null", "string"]},
            {"name": "ENTRIES", "type": "int"},
            {"name": "DESC", "type": {"type": "enum", "name": "Desc", "symbols": ["REGULAR", "RECOVR"]}},
            {"name": "WEIGHTS", "type": {"type": "map", "values": "double"}},
        ],
    }
    registry = SchemaRegistryClient({"url": url})
    registry.register_schema(f"{topic}-operator", Schema(json.dumps(operator), "AVRO"))
    reference = SchemaReference("mta.Operator", f"{topic}-operator", 1)
    schemas = [Schema(json.dumps(first), "AVRO"), Schema(json.dumps(second), "AVRO", [reference])]
    serializers = [AvroSerializer(registry, schema) for schema in schemas]
    context = SerializationContext(topic, MessageField.VALUE)
    to = producer()
    for n, row in enumerate(rows):
        record = fields(row)
        writer = n % 2 if n >= int(first_rows) else 0
        if writer:
            record["OPERATOR"] = {"NAMES": ["a", "b"]} if n % 3 else None
            record["WEIGHTS"] = {"w": 0.5}
            record = {f["name"]: record[f["name"]] for f in second["fields"]}
        else:
            at = datetime.strptime(record["TIMESTAMP"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
            record["TIMESTAMP"] = at
        send(to, serializers[writer](record, context), key=row[:4])
    if int(first_rows) == 0:
        value = serializers[0]({**fields(rows[0]), "TIMESTAMP": 0}, context)
        send(to, value[:1] + (4_711_000).to_bytes(4, "big") + value[5:])
        send(to, value[:4])
        send(to, b"no magic byte")
        send(to, value[:9])
        send(to, None, key="tombstone")
    done(to)


def json_schema(url):
    whole, text = {"type": "integer"}, {"type": "string"}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Reading",
        "type": "object",
        "properties": {name: whole if name in ("ENTRIES", "EXITS") else text for name in NAMES},
    }
    serializer = JSONSerializer(json.dumps(schema), SchemaRegistryClient({"url": url}))
    context = SerializationContext(topic, MessageField.VALUE)
    to = producer()
    for row in rows:
        send(to, serializer(fields(row), context))
    value = serializer(fields(rows[0]), context)
    send(to, value[:1] + (4_711_000).to_bytes(4, "big") + value[5:])
    done(to)


def left():
    """The offsets and values that are in the topic."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "left", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    while True:
        message = consumer.poll(PATIENCE)
        assert message is not None, "the topic said nothing"
        if message.error():
            break
        found.append((message.offset(), message.value().decode()))
    end = consumer.get_watermark_offsets(TopicPartition(topic, 0), PATIENCE)[1]
    consumer.close()
    return found, end


def compacted():
    to = producer()
    rounds = 6
    for n in range(rounds):
        for row in rows[n * len(rows) // rounds : (n + 1) * len(rows) // rounds]:
            send(to, row, key=row[:4])
        done(to)
        # Segments roll with the first record after their time.
        time.sleep(0.7)
    deadline = time.time() + PATIENCE
    while True:
        found, end = left()
        if len(found) < end:
            break
        assert time.time() < deadline, "nothing was compacted"
        time.sleep(0.2)
    admin = AdminClient({"bootstrap.servers": servers})
    keep = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[keep])
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result(PATIENCE)
    # A cleaning that had begun may end yet.
    before = None
    while before != found:
        before = found
        time.sleep(1.5)
        found, _ = left()
    print("\n".join(value for _, value in found))


{"plain": plain, "avro": avro, "json-schema": json_schema, "compacted": compacted}[how](*rest)
