//! A plan in a session: its settings and views.

use crate::connect::{Relation, Session};
use crate::error::SparkError;
use crate::plan::{MESSAGES_VIEW, OBSERVED_MESSAGES, OBSERVED_ROWS, OBSERVED_STREAM, ROWS_VIEW, SparkPlan};

impl Session {
    /// Sets the session up for a plan over `messages`, which has the columns of Spark's Kafka source; returns the pipeline's
    /// query. Repeating it is safe.
    ///
    /// # Errors
    /// Those of the connection; `Spark` if it does not accept a part of the plan.
    pub async fn prepare(&self, plan: &SparkPlan, messages: Relation) -> Result<Relation, SparkError> {
        self.set(plan.settings.iter().map(|(key, value)| (*key, value.as_str()))).await?;
        let [of_messages, of_rows, of_stream] = &plan.observed;
        self.create_view(MESSAGES_VIEW, messages.observed(OBSERVED_MESSAGES, of_messages)).await?;
        self.create_view(ROWS_VIEW, Relation::sql(&plan.rows).observed(OBSERVED_ROWS, of_rows)).await?;
        let (event_time, delay) = &plan.watermark;
        let mut stream = Relation::sql(&plan.accepted).with_watermark(event_time, *delay);
        if !plan.dedup.is_empty() {
            stream = stream.drop_duplicates_within_watermark(plan.dedup.clone());
        }
        self.create_view(&plan.stream, stream.observed(OBSERVED_STREAM, of_stream)).await?;
        Ok(Relation::sql(&plan.query))
    }
}
