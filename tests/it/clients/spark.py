"""The original's Spark job with its faults mended, run by Apache Spark itself as a batch.

    spark.py MESSAGES ROWS       MESSAGES: a topic's values, as capture.py prints them

Writes the rows of all windows to ROWS, CSV without a header, in any order; prints what became of the messages.
"""

import csv
import os
import sys
import tempfile
from datetime import datetime, timezone

# Spark looks the machine's own name up otherwise.
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

messages_file, rows_file = sys.argv[1:]
SCHEMA = dict.fromkeys("CA UNIT SCP STATION LINENAME DIVISION DATE TIME DESC".split(), "string")
SCHEMA |= {"ENTRIES": "int", "EXITS": "int", "ID": "string", "TIMESTAMP": "timestamp"}
KEYS = "CA UNIT SCP STATION LINENAME DIVISION DESC".split()
COLUMNS = "CA UNIT SCP STATION LINENAME DIVISION DATE TIME DESC ENTRIES EXITS".split()
SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "768m",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "America/New_York",
}


def decoded(values):
    """The original's steps: cast to text, strip the quotes, split at commas, cast by the schema. A field that does not
    fit its type is null, as it was there."""
    text = values.select(F.col("value").cast("string").alias("text"))
    fields = text.select("text", F.split(F.regexp_replace("text", '^"|"$', ""), ",").alias("fields"))

    def cast(at, kind):
        field = F.get("fields", F.lit(at))
        if kind == "timestamp":
            return F.try_to_timestamp(field, F.lit("yyyy-MM-dd HH:mm:ss"))
        return field.try_cast(kind)

    columns = (cast(at, kind).alias(name) for at, (name, kind) in enumerate(SCHEMA.items()))
    return fields.select("text", "fields", *columns)


def is_good():
    """Fault: a message that lacks a field, or has a text where a number belongs, was summed as nothing. An empty number
    is null, as from_csv reads it."""
    good = F.is_valid_utf8("text") & (F.size("fields") == len(SCHEMA))
    for at, (name, kind) in enumerate(SCHEMA.items()):
        if kind == "timestamp":
            good = good & F.col(name).isNotNull()
        elif kind != "string":
            good = good & (F.col(name).isNotNull() | (F.get("fields", F.lit(at)) == ""))
    # Of a tombstone it is null.
    return F.coalesce(good, F.lit(False))


def windows(rows):
    """Faults: what dropDuplicates gave back was thrown away; DATE was the message's and TIME the window's end; the
    window's bounds were not kept."""
    unique = rows.withWatermark("TIMESTAMP", "5 minutes").dropDuplicates(["ID", "STATION", "TIMESTAMP"])
    sums = unique.groupBy(F.window("TIMESTAMP", "5 minutes", "5 minutes"), *KEYS).agg(
        F.sum("ENTRIES").alias("ENTRIES"), F.sum("EXITS").alias("EXITS"), F.count("*").alias("MESSAGES")
    )
    end = F.col("window.end")
    return sums.select(
        *KEYS,
        F.date_format(end, "MM/dd/yyyy").alias("DATE"),
        F.date_format(end, "HH:mm:ss").alias("TIME"),
        "ENTRIES",
        "EXITS",
        F.unix_seconds("window.start").alias("START"),
        F.unix_seconds(end).alias("END"),
        "MESSAGES",
    )


def in_utc(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(rows_file))) as scratch:
    builder = SparkSession.builder.appName("turnstile").master("local[2]")
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    builder = builder.config("spark.local.dir", scratch).config("spark.sql.warehouse.dir", f"{scratch}/warehouse")
    spark = builder.getOrCreate()

    captured = spark.read.schema("value STRING").json(messages_file)
    # Bytes, as Spark's Kafka source gives them.
    everything = decoded(captured.select(F.unbase64("value").alias("value"))).withColumn("good", is_good())
    read, tombstones, good = everything.agg(
        F.count("*"), F.count_if(F.col("text").isNull()), F.count_if("good")
    ).first()
    found = windows(everything.where("good")).collect()
    version = spark.version
    spark.stop()

with open(rows_file, "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    for row in found:
        writer.writerow([*(row[name] for name in COLUMNS), in_utc(row.START), in_utc(row.END)])
aggregated = sum(row.MESSAGES for row in found)
print(
    f"Spark {version}: {read} read = {aggregated} aggregated + {good - aggregated} duplicate"
    f" + {read - good - tombstones} bad + {tombstones} tombstones"
)
