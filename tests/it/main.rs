//! The integration tests: the real programs, started as a user starts them, against each other and against others.
//!
//! One binary with a module a subject, because every module leans on the same harness and links only once.

mod harness;

mod access;
mod assured_client;
mod assured_library;
mod assured_server;
mod chat;
mod daemon;
mod datagrams;
mod docs;
mod exchange;
mod failover;
mod faults;
mod files;
mod fixtures;
mod forwarding;
mod framing;
mod hosts;
mod inetd;
mod interop;
mod jetstream;
mod layers;
mod library;
mod lookups;
mod measuring;
mod messages;
mod other_languages;
mod output;
mod peers;
mod probing;
mod programs;
mod raw;
mod reaching;
mod replaying;
mod saving;
mod serving;
mod sockets;
mod spool;
mod standard_services;
mod statuses;
mod storing;
mod trying;
mod tutorial;
mod withstanding;
mod working;
