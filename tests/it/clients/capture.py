"""Prints a topic's messages by confluent-kafka, a line each, as they are: {"value": BASE64 or null}.

    capture.py SERVERS TOPIC COUNT
"""

import base64
import json
import sys

from confluent_kafka import Consumer

servers, topic, count = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": servers, "group.id": f"{topic}-capture", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
for _ in range(int(count)):
    message = consumer.poll(120)
    assert message is not None and message.error() is None, message and message.error()
    value = message.value()
    print(json.dumps({"value": None if value is None else base64.b64encode(value).decode()}))
assert consumer.poll(1) is None, f"the topic holds more than {count} messages"
consumer.close()
