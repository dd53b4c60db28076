-- Every booth (control area) that a reading came from.
-- kind: dimension
-- key: booth_id
-- description: Booths, each of one remote unit and station.
-- column booth_id: Surrogate key of remote, booth and station. [unique, not_null]
-- column remote: The remote unit (UNIT of the readings).
-- column booth_name: The booth (CA of the readings).
-- column station_id: The station that it belongs to. [not_null, relationship(dim_station.station_id)]
SELECT DISTINCT
    surrogate_key(unit, ca, station) AS booth_id,
    unit AS remote,
    ca AS booth_name,
    surrogate_key(station) AS station_id
FROM ext_turnstile
