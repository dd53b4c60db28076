import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** Asks the port what a BI tool would through JDBC: the catalog, then prepared statements with a fetch size. */
public final class Reader {
    public static void main(String[] arguments) throws SQLException {
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/turnstile?user=reader";
        try (Connection connection = DriverManager.getConnection(url)) {
            catalog(connection.getMetaData());
            connection.setAutoCommit(false);
            pieces(connection);
            connection.commit();
            refusal(connection);
            connection.rollback();
        }
    }

    private static void catalog(DatabaseMetaData metadata) throws SQLException {
        expect("PostgreSQL", metadata.getDatabaseProductName());
        List<String> tables = names(metadata.getTables(null, "public", "%turnstile", new String[] {"TABLE"}), "TABLE_NAME");
        expect(List.of("ext_turnstile", "fact_turnstile"), tables);
        List<String> columns = names(metadata.getColumns(null, "public", "ext_turnstile", "e%"), "COLUMN_NAME");
        expect(List.of("entries", "exits", "end"), columns);
        List<String> types = names(metadata.getColumns(null, "public", "ext_turnstile", "e%"), "TYPE_NAME");
        expect(List.of("int8", "int8", "timestamptz"), types);
        if (!names(metadata.getSchemas(), "TABLE_SCHEM").contains("_turnstile")) {
            throw new AssertionError("no schema _turnstile");
        }
    }

    private static void pieces(Connection connection) throws SQLException {
        String sql = "SELECT exits, start FROM ext_turnstile WHERE station LIKE ? AND exits >= ? ORDER BY exits";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setFetchSize(2);
            // From the fifth time on the driver prepares it on the server and asks for binary values.
            for (int time = 0; time < 7; time++) {
                statement.setString(1, "Test%");
                statement.setLong(2, 2);
                List<Long> exits = new ArrayList<>();
                try (ResultSet rows = statement.executeQuery()) {
                    while (rows.next()) {
                        exits.add(rows.getLong(1));
                        expect(true, rows.getTimestamp(2).toInstant().toString().startsWith("2024-01-06T05:0"));
                    }
                }
                expect(List.of(2L, 4L, 5L), exits);
            }
        }
    }

    private static void refusal(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("DELETE FROM ext_turnstile")) {
            statement.execute();
        } catch (SQLException refusal) {
            expect("25006", refusal.getSQLState());
            return;
        }
        throw new AssertionError("it was not refused");
    }

    private static List<String> names(ResultSet rows, String column) throws SQLException {
        List<String> names = new ArrayList<>();
        while (rows.next()) {
            names.add(rows.getString(column));
        }
        return names;
    }

    private static void expect(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }
}
