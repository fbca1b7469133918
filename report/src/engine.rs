//! Engine: SQL over the Parquet of a period, in bounded memory and time.
//!
//! Invariant: statements read the table `events` and nothing else: no file that they name, and nothing is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions::expr_fn::strpos;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::schema::parser::parse_message_type;
use datafusion::parquet::schema::types::SchemaDescriptor;
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use datafusion::scalar::ScalarValue;
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use url::Url;

use crate::columns::schema;
use crate::request::{Limits, Period};

/// The table that statements read.
const TABLE: &str = "events";
/// What is written to disk while a statement runs.
const SPILL_BYTES_MAX: u64 = 100 << 30;

/// Which events the table holds.
pub struct Events<'e> {
    pub folder: &'e Path,
    pub files: Vec<&'e str>,
    pub period: Period,
    /// Only machines of this group or with this tag, and those that nobody knows.
    pub scope: Option<&'e str>,
    /// Seals of each stream that are not meant.
    pub without: BTreeMap<&'e str, Vec<u64>>,
}

/// See above.
pub struct Engine {
    runtime: Runtime,
    context: SessionContext,
    limits: Limits,
}

impl Engine {
    /// Over these events.
    ///
    /// # Errors
    /// A file is not there, or no thread can be started.
    pub fn new(events: &Events<'_>, limits: Limits) -> Result<Engine> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(SPILL_BYTES_MAX);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let config = SessionConfig::new().with_collect_statistics(false).with_parquet_pruning(true);
        let context = SessionContext::new_with_config_rt(config, environment);
        let engine = Engine { runtime, context, limits };
        engine.register(events)?;
        Ok(engine)
    }

    fn register(&self, events: &Events<'_>) -> Result<()> {
        let Events { folder, files, period, scope, without } = events;
        let url = |file: &&str| {
            let path = folder.join(file);
            let path = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
            // As a text it would be a pattern.
            let url = Url::from_file_path(&path).map_err(|()| anyhow::anyhow!("`{}` is no path", path.display()))?;
            Ok(ListingTableUrl::try_new(url, None)?)
        };
        let urls = files.iter().map(url).collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(columns()?);
        let table = match urls.is_empty() {
            true => self.context.read_table(Arc::new(MemTable::try_new(schema, vec![vec![]])?))?,
            false => {
                let options = ListingOptions::new(Arc::new(ParquetFormat::default()));
                let config = ListingTableConfig::new_with_multi_paths(urls);
                let config = config.with_listing_options(options).with_schema(schema);
                self.context.read_table(Arc::new(ListingTable::try_new(config)?))?
            }
        };
        let time = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let from = period.from.map(|from| col("observed_time").gt_eq(time(from)));
        let to = period.to.map(|to| col("observed_time").lt(time(to)));
        // What the gateway says of itself is about every machine, and a machine that nobody knows may be of any group.
        let scope = scope.map(|scope| {
            let tag = strpos(col("vm_tags"), lit(serde_json::Value::from(scope).to_string())).gt(lit(0));
            let is_in = col("vm_group").eq(lit(scope)).is_true().or(tag.is_true());
            is_in.or(col("vm_name").is_null()).or(col("audit_class").eq(lit("C10")).is_true())
        });
        let without = without.iter().map(|(stream, seals)| {
            let seals = seals.iter().map(|seal| lit(i64::try_from(*seal).unwrap_or(i64::MAX))).collect();
            col("stream").eq(lit(*stream)).and(col("seal").in_list(seals, false)).is_not_true()
        });
        let conditions = from.into_iter().chain(to).chain(scope).chain(without);
        let table = match conditions.reduce(|one, two| one.and(two)) {
            Some(within) => table.filter(within)?,
            None => table,
        };
        self.context.register_table(TABLE, table.into_view())?;
        Ok(())
    }

    /// Starts a statement.
    ///
    /// # Errors
    /// It is no statement, or another than `select`.
    pub fn start(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        self.runtime.block_on(async {
            let frame = self.context.sql_with_options(sql, options).await?;
            Ok(frame.execute_stream().await?)
        })
    }

    /// Hands over what a statement answers, batch by batch.
    ///
    /// # Errors
    /// It fails, takes longer than it may, or what it answers is not taken.
    pub fn each(
        &self,
        mut answer: SendableRecordBatchStream,
        take: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let all = async {
            while let Some(batch) = answer.next().await {
                take(&batch?)?;
            }
            Ok(())
        };
        let seconds = self.limits.seconds;
        self.runtime.block_on(async {
            match tokio::time::timeout(Duration::from_secs(seconds), all).await {
                Ok(done) => done,
                Err(_) => {
                    bail!("it took longer than {seconds} s; hint: ask for a shorter period, or raise `--timeout`")
                }
            }
        })
    }
}

/// The columns of the table. Texts are views into what was read.
fn columns() -> Result<Schema> {
    let descriptor = SchemaDescriptor::new(Arc::new(parse_message_type(&schema())?));
    let stored = parquet_to_arrow_schema(&descriptor, None)?;
    let as_view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
        _ => field.as_ref().clone(),
    };
    Ok(Schema::new(stored.fields().iter().map(as_view).collect::<Vec<_>>()))
}
