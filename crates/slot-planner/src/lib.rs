//! Decides where masters and replicas go; pure.
