"""Answers expressions over the rows of an inline table by Apache Spark, in ANSI mode.

Reads one JSON object from standard input: zone, table, groups, over ("rows" or "groups"), expressions, and how
many rows each needs. Writes a line
for each expression: a JSON list of one text a row or a group, a letter for the kind and the value (see answer.rs). An
expression that Spark refuses is an error everywhere.
"""

import json
import logging
import os
import sys

# Spark looks the machine's own name up otherwise.
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

logging.disable()
FAULTS = (Py4JJavaError, PySparkException)

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "768m",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.ansi.enabled": "true",
    # `each_row` evaluates one expression: nothing of it may be computed below it.
    "spark.sql.alwaysInlineCommonExpr": "true",
    # Constants and inline tables are computed while Spark plans; what is left is too small to be worth compiling.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}

question = json.load(sys.stdin)
builder = SparkSession.builder.master("local[1]").config("spark.sql.session.timeZone", question["zone"])
for key, value in SETTINGS.items():
    builder = builder.config(key, value)
session = builder.getOrCreate()
session.sparkContext.setLogLevel("OFF")
# A checkpoint is no inline table any more, so that plans keep their expressions for `each_row`.
table = session.sql(f"SELECT *, id % {question['groups']} AS g FROM {question['table']}").localCheckpoint()
table.createOrReplaceTempView("rows")
catalyst = session._jvm.org.apache.spark.sql.catalyst.expressions
attributes = getattr(catalyst, "package$AttributeSeq")


def shown(kind, value):
    """A value as Catalyst has it inside: dates as days, instants as microseconds."""
    if value is None:
        return "-"
    if kind == "boolean":
        return "b" + ("true" if value else "false")
    if kind in ("int", "bigint", "smallint", "tinyint"):
        return f"n{value}"
    if kind.startswith("decimal"):
        return f"n{value.toJavaBigDecimal() if hasattr(value, 'toJavaBigDecimal') else value:f}"
    if kind in ("double", "float"):
        return f"d{value!r}"
    if kind == "date":
        return f"a{value}"
    if kind == "timestamp":
        return f"t{value}"
    return f"s{value if isinstance(value, str) else value.toString()}"


rows = list(table._jdf.queryExecution().executedPlan().executeCollect())


def each_row(expression, needed):
    """The expression of the optimized plan, evaluated row by row: one that fails is an error of its row alone."""
    plan = session.sql(f"SELECT id, {expression} AS x FROM rows")._jdf.queryExecution().optimizedPlan()
    kind = plan.schema().apply("x").dataType().simpleString()
    project, child = plan.projectList(), plan.child()
    bound = catalyst.BindReferences.bindReference(project.apply(1), attributes(child.output()), False)
    for row in rows[:needed]:
        try:
            yield shown(kind, bound.eval(row))
        except FAULTS:
            yield "!"


def groups(expression, where="true"):
    """The aggregate of the groups that `where` leaves, by their number."""
    kind = session.sql(f"SELECT {expression} AS x FROM rows GROUP BY g").schema["x"].dataType.simpleString()
    wrapped = {"timestamp": f"unix_micros({expression})", "date": f"unix_date({expression})"}.get(kind, expression)
    found = session.sql(f"SELECT g, {wrapped} AS x FROM rows WHERE {where} GROUP BY g").collect()
    return {row.g: shown(kind, row.x) for row in found}


def each_group(expression, _):
    try:
        found = groups(expression)
        yield from (found[group] for group in range(question["groups"]))
    except FAULTS:
        for group in range(question["groups"]):
            try:
                yield groups(expression, f"g = {group}")[group]
            except FAULTS:
                yield "!"


answers = {"rows": each_row, "groups": each_group}[question["over"]]
for expression, needed in zip(question["expressions"], question["needed"]):
    try:
        line = list(answers(expression, needed))
    except FAULTS as refused:
        # What Spark does not even plan.
        print(f"{expression}: {str(refused).splitlines()[0]}", file=sys.stderr)
        line = ["!"] * (needed if question["over"] == "rows" else question["groups"])
    print(json.dumps(line), flush=True)
session.stop()
