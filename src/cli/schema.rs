//! `tidegate schema`: the JSON Schema of a manifest.

use std::io::Write;

use super::{Failure, GOOD};
use crate::connector::service_types;
use crate::manifest::schema::editor_schema;

pub(super) fn run(output: &mut dyn Write) -> Result<u8, Failure> {
    writeln!(output, "{:#}", editor_schema(service_types()))?;
    Ok(GOOD)
}
