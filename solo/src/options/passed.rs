use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};

/// A service whose options are offered too.
pub trait Service {
    type Options: CommandFactory;
    /// Options that are decided here: addresses between the services, and what `solo` has itself.
    const KEPT: &'static [&'static str];
}

/// A service's options as flags, to be given to its own parser.
///
/// An option that two services have is one option, unless their defaults differ: then the second one's has the
/// service's name in front, as in `--fpm-gateway-connect-timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed<S> {
    flags: Vec<String>,
    service: PhantomData<S>,
}

impl<S: Service> Passed<S> {
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(String::as_str)
    }

    fn offered() -> Vec<Arg> {
        let command = S::Options::command();
        command
            .get_arguments()
            .filter(|arg| arg.get_long().is_some_and(|long| !S::KEPT.contains(&long)))
            .cloned()
            .collect()
    }

    fn name() -> String {
        S::Options::command().get_name().to_owned()
    }
}

impl<S: Service> Args for Passed<S> {
    // Values are checked by the service's own parsers, which come with its options.
    fn augment_args(command: Command) -> Command {
        Self::offered().into_iter().fold(command, |command, arg| {
            let known = command.get_arguments().find(|known| known.get_long() == arg.get_long());
            match known.map(|known| known.get_default_values() == arg.get_default_values()) {
                Some(true) => command,
                Some(false) => {
                    let own = own_name(&Self::name(), &arg);
                    command.arg(arg.id(own.clone()).long(own).help_heading(Self::name()))
                }
                None => command.arg(arg.help_heading(Self::name())),
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Service> FromArgMatches for Passed<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let name = Self::name();
        let flags = Self::offered().iter().flat_map(|arg| set_by_a_person(&name, arg, matches)).collect();
        Ok(Self { flags, service: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn own_name(service: &str, arg: &Arg) -> String {
    format!("{service}-{}", arg.get_long().unwrap_or_default())
}

/// `--name=value` for each of an option's values, unless they are what the service takes by itself.
fn set_by_a_person(service: &str, arg: &Arg, matches: &ArgMatches) -> Vec<String> {
    let (own, shared) = (own_name(service, arg), arg.get_id().as_str());
    let id = if matches.try_get_raw(&own).is_ok() { own.as_str() } else { shared };
    let Ok(Some(raw)) = matches.try_get_raw(id) else { return vec![] };
    let values: Vec<String> = raw.map(|value| value.to_string_lossy().into_owned()).collect();
    let long = arg.get_long().unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    // A default with several values may be written as one.
    if values.join(",") == defaults.join(",") {
        return vec![];
    }
    match arg.get_action() {
        ArgAction::SetTrue if values == ["true"] => vec![format!("--{long}")],
        ArgAction::SetTrue => vec![],
        _ => values.into_iter().map(|value| format!("--{long}={value}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "one")]
    #[allow(dead_code, reason = "only its options matter")]
    struct OneOptions {
        #[arg(long, default_value = "a:1")]
        listen: String,
        #[arg(long, default_value = "2s")]
        timeout: String,
        #[arg(long, value_delimiter = ',')]
        tag: Vec<String>,
        #[arg(long)]
        loud: bool,
    }

    #[derive(Debug, Parser)]
    #[command(name = "two")]
    #[allow(dead_code, reason = "only its options matter")]
    struct TwoOptions {
        #[arg(long, default_value = "9s")]
        timeout: String,
        #[arg(long)]
        loud: bool,
    }

    #[derive(Debug)]
    struct One;
    #[derive(Debug)]
    struct Two;
    impl Service for One {
        type Options = OneOptions;
        const KEPT: &'static [&'static str] = &["listen"];
    }
    impl Service for Two {
        type Options = TwoOptions;
        const KEPT: &'static [&'static str] = &[];
    }

    #[derive(Debug, Parser)]
    struct Whole {
        #[arg(long, default_value = "b:2")]
        listen: String,
        #[command(flatten)]
        one: Passed<One>,
        #[command(flatten)]
        two: Passed<Two>,
    }

    fn flags(arguments: &[&str]) -> (Vec<String>, Vec<String>) {
        let whole = Whole::try_parse_from(std::iter::once(&"whole").chain(arguments)).unwrap();
        assert_eq!(whole.listen, "b:2");
        (whole.one.flags.clone(), whole.two.flags.clone())
    }

    #[test]
    fn only_what_was_set_is_passed_on() {
        assert_eq!(flags(&[]), (vec![], vec![]));
        let (one, two) = flags(&["--tag=x,y", "--timeout", "3s"]);
        assert_eq!(one, ["--timeout=3s", "--tag=x", "--tag=y"]);
        assert_eq!(two, Vec::<String>::new());
    }

    #[test]
    fn equal_options_are_shared_and_unequal_ones_named() {
        let (one, two) = flags(&["--loud"]);
        assert_eq!((one, two), (vec!["--loud".into()], vec!["--loud".into()]));
        let (one, two) = flags(&["--two-timeout=2s"]);
        assert_eq!((one, two), (vec![], vec!["--timeout=2s".into()]));
    }
}
