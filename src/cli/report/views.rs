//! The reports that are one statement each: the files in `catalog/sql`. They run as they are over the same Parquet
//! in other engines, too.

use super::super::query::Shape;
use super::super::sealed::Which;

/// What each of them is told.
#[derive(Debug, clap::Args)]
pub(super) struct ViewArguments {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub shape: Shape,
    /// Write the statement instead of its answer, for another engine
    #[arg(long)]
    pub sql: bool,
}

macro_rules! views {
    ($( #[doc = $about:literal] $name:ident $file:literal; )+) => {
        #[derive(Debug, clap::Subcommand)]
        pub(super) enum View { $( #[doc = $about] $name(ViewArguments), )+ }

        /// The statements, by the names of their files.
        pub(in super::super) const STATEMENTS: &[(&str, &str)] =
            &[ $( ($file, include_str!(concat!("../../../catalog/sql/", $file, ".sql"))), )+ ];

        impl View {
            /// Its statement, and what it is told.
            pub(super) fn parts(&self) -> (&'static str, &ViewArguments) {
                match self {
                    $( View::$name(arguments) =>
                        (include_str!(concat!("../../../catalog/sql/", $file, ".sql")), arguments), )+
                }
            }
        }
    };
}

views! {
    /// Machines that run Docker, with what was seen of each
    Vms "vms";
    /// Containers of each machine, with their images
    Containers "containers";
    /// Images of each machine
    Images "images";
    /// Registries of each machine, and whether the policy has found fault with them
    Registries "registries";
    /// Images of registries that are not on the list: each finding
    Untrusted "untrusted";
    /// Starts and stops of containers, by day and machine
    Lifecycle "lifecycle";
    /// Commands and shells in containers, each one
    Exec "exec";
    /// Docker where it is not allowed: each finding
    NotAllowed "not-allowed";
    /// Findings of the policy, each as it was told
    Findings "findings";
    /// What was lost, as far as that is known
    Gaps "gaps";
    /// Digests: of each day whether it was made, when, and what it says
    Digests "digests";
}
