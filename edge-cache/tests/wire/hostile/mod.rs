//! Request smuggling, response splitting, cache poisoning and cache deception, as bytes on the wire: what an attacker
//! sends at one end, and exactly what arrives at the other.

mod poisoning;
mod requests;
mod responses;
