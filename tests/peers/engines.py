"""Runs the statements of reports in another engine over the same Parquet: `engines.py duckdb|spark TREE SQL_FILE...`

Prints one JSON object: for each file its columns and rows, every cell as text or null.
"""

import datetime
import decimal
import glob
import json
import os
import sys


def text(cell):
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, datetime.datetime):
        return cell.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(cell, (bytes, bytearray)):
        return cell.hex()
    if isinstance(cell, (datetime.date, decimal.Decimal, int)):
        return str(cell)
    raise TypeError(type(cell))


def duckdb(tree, statements):
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    files = glob.glob(os.path.join(tree, "**", "*.parquet"), recursive=True)
    connection.execute(f"create view events as select * from read_parquet({files!r})")
    for statement in statements:
        answer = connection.execute(statement)
        yield [column[0] for column in answer.description], answer.fetchall()


def spark(tree, statements):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local-cluster[2,1,1024]").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
    session = builder.getOrCreate()
    session.read.parquet(tree).createOrReplaceTempView("events")
    for statement in statements:
        answer = session.sql(statement)
        yield answer.columns, [tuple(row) for row in answer.collect()]
    session.stop()


def main():
    engine, tree, *paths = sys.argv[1:]
    statements = [open(path, encoding="utf-8").read() for path in paths]
    answers = {"duckdb": duckdb, "spark": spark}[engine](tree, statements)
    said = {}
    for path, (columns, rows) in zip(paths, answers):
        said[path] = {"columns": list(columns), "rows": [[text(cell) for cell in row] for row in rows]}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    main()
