//! The verbs: one file each, and one word in the list below.

use clap::Subcommand;

macro_rules! verbs {
    ($($(#[$when:meta])* $verb:ident)*) => {
        $($(#[$when])* mod $verb;)*

        /// A verb and its arguments.
        #[derive(Subcommand)]
        #[allow(non_camel_case_types, clippy::large_enum_variant, reason = "a verb is named as it is typed")]
        pub(crate) enum Verb {
            $($(#[$when])* $verb($verb::Args),)*
        }

        impl Verb {
            pub(crate) fn run(self) -> anyhow::Result<()> {
                match self {
                    $($(#[$when])* Verb::$verb(args) => $verb::run(args),)*
                }
            }
        }
    };
}

verbs! {
    #[cfg(feature = "train")] demo
    summary
    #[cfg(feature = "train")] train
    #[cfg(feature = "train")] probe
    eval
    import
    pack
    run
    export
    predict
    bench
    inspect
    verify
    data
    doctor
    completions
    manual
}
