-- Every station that a reading came from.
-- kind: dimension
-- key: station_id
-- description: Stations.
-- column station_id: Surrogate key of the station's name. [unique, not_null]
-- column station_name: The name, as the readings have it. [unique]
SELECT DISTINCT surrogate_key(station) AS station_id, station AS station_name
FROM ext_turnstile
