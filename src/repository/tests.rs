//! Tests of what only a database can show.
