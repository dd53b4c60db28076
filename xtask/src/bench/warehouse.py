"""Asks a running `turnstile warehouse serve` and DuckDB the same questions, in turns, over the same files.

usage: warehouse.py PORT LAKE DAY TURNS    DAY: YYYY-MM-DD, that of the question about one day

Prints a line for each question and program: question, program, median in milliseconds, worst, rows; parted by tabs.
Ends with an error when the answers differ. The first answers are thrown away: they warm up.
"""

import datetime
import statistics
import sys
import time

import duckdb
import psycopg

port, lake, day, turns = sys.argv[1:]
next_day = datetime.date.fromisoformat(day) + datetime.timedelta(days=1)
ONE_DAY = f"""SELECT STATION, ENTRIES, EXITS FROM ext_turnstile
WHERE STATION LIKE 'Test%' AND START >= '{day}T00:00:00Z' AND START < '{next_day}T00:00:00Z'"""
TOP_TEN = """SELECT STATION, CAST(sum(ENTRIES) AS bigint) AS n FROM {table}
GROUP BY STATION ORDER BY n DESC, STATION LIMIT 10"""

postgres = psycopg.connect(host="127.0.0.1", port=port, user="turnstile", dbname="turnstile", autocommit=True)
duck = duckdb.connect()
duck.execute("SET TimeZone = 'UTC'")
files = f"read_parquet('{lake}/*=*/*.parquet', hive_partitioning = false)"
duck.execute(f"CREATE VIEW ext_turnstile AS SELECT * FROM {files}")


def turnstile(sql):
    return postgres.execute(sql).fetchall()


def beside(sql):
    return duck.execute(sql).fetchall()


BOTH = {"turnstile": turnstile, "DuckDB": beside}
QUESTIONS = [
    ("`Test%` of one day, ext_turnstile", ONE_DAY, BOTH),
    ("top ten stations, ext_turnstile", TOP_TEN.format(table="ext_turnstile"), BOTH),
    # Only the warehouse's record says which of its files count.
    ("top ten stations, fact_turnstile", TOP_TEN.format(table="fact_turnstile"), {"turnstile": turnstile}),
]

for question, sql, programs in QUESTIONS:
    answers = {program: sorted(ask(sql)) for program, ask in programs.items()}
    rows = answers["turnstile"]
    if any(answer != rows for answer in answers.values()):
        sys.exit(f"{question}: the answers differ: {({program: rows[:3] for program, rows in answers.items()})}")
    took = {program: [] for program in programs}
    for _ in range(int(turns)):
        for program, ask in programs.items():
            begin = time.perf_counter()
            ask(sql)
            took[program].append((time.perf_counter() - begin) * 1e3)
    for program, times in took.items():
        print(question, program, f"{statistics.median(times):.1f}", f"{max(times):.1f}", len(rows), sep="\t")
