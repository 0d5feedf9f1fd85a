//! The prober that the lab runs inside its namespaces; see `vipsec_lab::probe`.

use clap::Parser;
use vipsec_lab::probe::{Arguments, run};

fn main() -> anyhow::Result<()> {
    run(&Arguments::parse())
}
