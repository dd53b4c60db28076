"""Asks the port what a Python program would, with psycopg 3: types, parameters, prepared statements, cursors."""

import datetime
import sys

import psycopg

UTC = datetime.timezone.utc
address = f"host=127.0.0.1 port={sys.argv[1]} user=reader dbname=turnstile"

with psycopg.connect(address) as connection:
    row = connection.execute(
        "SELECT station, entries, exits, ratio, date, start FROM ext_turnstile WHERE station LIKE %s ORDER BY exits",
        ["Test%"],
    ).fetchone()
    start = datetime.datetime(2024, 1, 6, 5, tzinfo=UTC)
    assert row == ("Test Station 1", 10, 1, 0.5, datetime.date(2024, 1, 6), start), row

    # More than five times: psycopg prepares it on the server.
    for least in range(8):
        sql = "SELECT count(*) FROM ext_turnstile WHERE exits > %s AND start >= %s"
        assert connection.execute(sql, [least, start]).fetchone() == (max(0, 6 - least),)

    empty = connection.execute("SELECT entries FROM ext_turnstile WHERE exits = 6").fetchone()
    assert empty == (None,), empty
    binary = connection.execute("SELECT entries, start FROM ext_turnstile WHERE exits = %s", [1], binary=True)
    assert binary.fetchone() == (10, start)

    with connection.cursor(name="pieces") as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT exits FROM ext_turnstile ORDER BY exits")
        assert [exits for (exits,) in cursor] == [1, 2, 3, 4, 5, 6]

    try:
        connection.execute("DELETE FROM ext_turnstile")
        sys.exit("it was not refused")
    except psycopg.errors.ReadOnlySqlTransaction as refusal:
        assert "models/" in refusal.diag.message_hint
    connection.rollback()

    with connection.transaction(), connection.transaction():
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert connection.info.parameter_status("TimeZone") == "UTC"
