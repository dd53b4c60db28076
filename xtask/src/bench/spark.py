"""Spark over the same files: the year's top ten stations. Prints as warehouse.py does.

usage: spark.py LAKE TURNS
"""

import statistics
import sys
import time

from pyspark.sql import SparkSession

lake, turns = sys.argv[1:]
session = SparkSession.builder.master("local[*]").config("spark.driver.memory", "2g")
session = session.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
spark = session.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "4").getOrCreate()
spark.read.parquet(f"{lake}/*=*/*.parquet").createOrReplaceTempView("ext_turnstile")
TOP_TEN = "SELECT STATION, sum(ENTRIES) AS n FROM ext_turnstile GROUP BY STATION ORDER BY n DESC, STATION LIMIT 10"

took = []
for turn in range(int(turns) + 1):
    begin = time.perf_counter()
    rows = spark.sql(TOP_TEN).collect()
    if turn > 0:
        took.append((time.perf_counter() - begin) * 1e3)
median, worst = statistics.median(took), max(took)
print("top ten stations, ext_turnstile", "Spark", f"{median:.1f}", f"{worst:.1f}", len(rows), sep="\t")
