//! Every kernel against a naive one.
