//! Handlers become components: one macro for each kind of plugin. A crate has one of them, once.

/// Makes the function a worker: `fn(Job) -> Result<(), E>`, where `E` is [`Failure`](crate::Failure), or an error of
/// yours that becomes one ([`Error`](crate::Error) does).
///
/// ```
/// use sandhog_guest::{Failure, Job};
///
/// enum Trouble {
///     Empty,
/// }
///
/// impl From<Trouble> for Failure {
///     fn from(Trouble::Empty: Trouble) -> Self {
///         Failure::bury("the payload is empty")
///     }
/// }
///
/// fn handle(job: Job) -> Result<(), Trouble> {
///     if job.payload.is_empty() { Err(Trouble::Empty) } else { Ok(()) }
/// }
///
/// sandhog_guest::worker!(handle);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! worker {
    ($handle:path) => {
        const _: () = {
            struct Plugin;

            impl $crate::bindings::worker::exports::sandhog::worker::handler::Guest for Plugin {
                fn handle(job: $crate::Job) -> ::core::result::Result<(), $crate::Failure> {
                    $handle(job).map_err(::core::convert::Into::into)
                }
            }

    $crate::bindings::worker::export!(Plugin with_types_in $crate::bindings::worker);
        };
    };
}

/// Makes the function a batch worker: `fn(Vec<Job>) -> Vec<Result<(), Failure>>`, one answer for each job, in their order.
/// The manifest says how many jobs a call may have (`batch.size`).
///
/// Change nothing for a job that is not answered `Ok`: the effects of a call belong to all its jobs together.
///
/// ```no_run
/// use sandhog_guest::{Failure, Job, kv};
///
/// fn handle(jobs: Vec<Job>) -> Vec<Result<(), Failure>> {
///     let numbers: Vec<Result<i64, Failure>> = jobs
///         .iter()
///         .map(|job| job.text()?.parse().map_err(|_| Failure::bury("no number")))
///         .collect();
///     if let Err(error) = kv::add("sum", numbers.iter().flatten().sum()) {
///         return jobs.iter().map(|_| Err(error.clone().into())).collect();
///     }
///     numbers.into_iter().map(|number| number.map(|_| ())).collect()
/// }
///
/// sandhog_guest::batch!(handle);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! batch {
    ($handle:path) => {
        const _: () = {
            struct Plugin;

            impl $crate::bindings::batch::exports::sandhog::worker::batch_handler::Guest for Plugin {
                fn handle_batch(
                    jobs: ::std::vec::Vec<$crate::Job>,
                ) -> ::std::vec::Vec<::core::result::Result<(), $crate::Failure>> {
                    $handle(jobs)
                }
            }

    $crate::bindings::batch::export!(Plugin with_types_in $crate::bindings::batch);
        };
    };
}

/// Makes the function a config reader: `fn() -> Result<S, E>`, where `S` is anything that yields names and values (an
/// array, a `Vec`, a `BTreeMap`), and `E` becomes text ([`Error`](crate::Error) does).
///
/// ```no_run
/// use sandhog_guest::{Result, kv};
///
/// fn read() -> Result<[(&'static str, String); 1]> {
///     let greeting = kv::get("greeting")?;
///     Ok([("greeting", greeting.unwrap_or_else(|| "hello".to_owned()))])
/// }
///
/// sandhog_guest::config_reader!(read);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! config_reader {
    ($read:path) => {
        const _: () = {
            struct Plugin;

            impl $crate::bindings::reader::exports::sandhog::worker::config_source::Guest for Plugin {
                fn read() -> ::core::result::Result<
                    ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                    ::std::string::String,
                > {
                    $read().map($crate::settings).map_err(::core::convert::Into::into)
                }
            }

    $crate::bindings::reader::export!(Plugin with_types_in $crate::bindings::reader);
        };
    };
}

/// The settings as the host wants them.
#[doc(hidden)]
pub fn settings<N: Into<String>, V: Into<String>>(
    settings: impl IntoIterator<Item = (N, V)>,
) -> Vec<(String, String)> {
    settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}
