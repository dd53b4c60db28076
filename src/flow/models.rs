//! The models of a context's pipeline, before anything is loaded.

use turnstile_warehouse::Models;

use super::context::Context;
use super::fault::warehouse_failed;
use super::warehouse::{read_models, source};

/// The models of a pipeline, or why they are wrong, as far as their files tell. The lake is not opened.
pub(crate) fn models(context: &Context) -> anyhow::Result<Models> {
    read_models(context.pipeline(), context.folder(), &source(context.pipeline(), &*context.plan()?)?.table)
}

/// Plans the models of a pipeline over its columns, without reading a row: whether a load can compute them.
pub(crate) async fn plan_models(context: &Context, models: &Models) -> anyhow::Result<()> {
    let source = source(context.pipeline(), &*context.plan()?)?;
    models.plan(&source).await.map(drop).map_err(|error| warehouse_failed(error.into()))
}
