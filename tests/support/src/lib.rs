//! What the tests share, from the smallest thing up.
//!
//! - [`wait`], [`gate`]: wait for conditions, hold things until the test lets them go.
//! - [`client`], [`origin`], [`fastcgi_app`], [`dns`]: both ends of the wire, able to misbehave byte by byte.
//! - [`hostile`]: messages that two hops could read in two ways.
//! - [`process`]: child processes that cannot outlive the test, their memory, free ports.
//! - [`php_fpm`], [`mariadb`], [`galera`], [`memcached`], [`browser`]: the real things, private and temporary.
//! - [`metrics`]: what a service says about itself.

pub mod wait;

pub mod gate;

mod http1;

pub mod client;
pub mod dns;
pub mod fastcgi_app;
pub mod hostile;
pub mod origin;

pub mod process;

pub mod browser;
pub mod galera;
pub mod mariadb;
pub mod memcached;
pub mod php_fpm;

pub mod metrics;
