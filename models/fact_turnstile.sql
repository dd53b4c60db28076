-- What every turnstile counted in every window. Readings that differ in LINENAME, DIVISION or DESC alone are one
-- fact: its key knows the turnstile and the window only.
-- kind: incremental
-- key: log_id
-- window: window_start
-- description: Entries and exits of each turnstile in each window.
-- column log_id: Surrogate key of remote, booth, scp, station and created_dt. [unique, not_null]
-- column remote: The remote unit (UNIT of the readings).
-- column booth: The booth (CA of the readings).
-- column station: The station.
-- column scp: The turnstile within the booth.
-- column line_name: The lines that stop there.
-- column division: The division that the station belonged to.
-- column created_dt: The window's end. [not_null]
-- column entries: People who entered. [not_null]
-- column exits: People who left. [not_null]
-- column window_start: The window's first instant. [not_null]
-- column booth_id: The booth. [relationship(dim_booth.booth_id)]
-- column station_id: The station. [relationship(dim_station.station_id)]
-- check: conservation(entries, exits)
SELECT
    surrogate_key(unit, ca, scp, station, "end") AS log_id,
    unit AS remote,
    ca AS booth,
    station,
    scp,
    min(linename) AS line_name,
    min(division) AS division,
    "end" AS created_dt,
    coalesce(sum(entries), 0) AS entries,
    coalesce(sum(exits), 0) AS exits,
    start AS window_start,
    surrogate_key(unit, ca, station) AS booth_id,
    surrogate_key(station) AS station_id
FROM ext_turnstile
GROUP BY unit, ca, scp, station, start, "end"
