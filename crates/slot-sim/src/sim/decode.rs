//! What decoders make of a payload, apart from any world: for tests that damage payloads past the frames' checksums.
//!
//! What always holds: the same functions are called as when a frame arrives; nothing is done with what they answer.

use super::wire::Kind;
use prost::Message;
use slot_engine::journal::core::{PeerAnswer, PeerCall};
use slot_engine::journal::wire;
use slot_proto::pb;
use slot_types::codec;
use slot_types::engine::{EngineAnswer, EngineCall};
use slot_types::front_end::{FrontEndReport, RouteTable};
use slot_types::order::{AgentReport, Answer, Order};
use slot_types::probe::{Looks, Sights};

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Decodes a payload of a kind to the last layer; the error is what a decoder said.
pub fn decode(kind: Kind, payload: &[u8]) -> Result<(), String> {
    match kind {
        Kind::Raft => slot_proto::raft::decode_envelope(payload).map(drop).map_err(text),
        Kind::Deliver => {
            let request = pb::DeliverRequest::decode(payload).map_err(text)?;
            codec::decode::<Order>(&request.order).map(drop).map_err(text)
        }
        Kind::DeliverReply => {
            let reply = pb::DeliverReply::decode(payload).map_err(text)?;
            codec::decode::<Answer>(&reply.answer).map(drop).map_err(text)
        }
        Kind::Report => {
            let reply = pb::WatchReply::decode(payload).map_err(text)?;
            codec::decode::<AgentReport>(&reply.report).map(drop).map_err(text)
        }
        Kind::Control => {
            let request = pb::EngineControlRequest::decode(payload).map_err(text)?;
            codec::decode::<EngineCall>(&request.call).map(drop).map_err(text)
        }
        Kind::ControlReply => {
            let reply = pb::EngineControlReply::decode(payload).map_err(text)?;
            codec::decode::<EngineAnswer>(&reply.answer).map(drop).map_err(text)
        }
        Kind::Peer => {
            let request = pb::EnginePeerRequest::decode(payload).map_err(text)?;
            codec::decode::<PeerCall>(&request.call).map(drop).map_err(text)
        }
        Kind::PeerReply => {
            let reply = pb::EnginePeerReply::decode(payload).map_err(text)?;
            codec::decode::<PeerAnswer>(&reply.answer).map(drop).map_err(text)
        }
        Kind::Append => {
            let request = pb::AppendRequest::decode(payload).map_err(text)?;
            wire::append_from(request).map(drop).map_err(text)
        }
        Kind::AppendReply => pb::AppendReply::decode(payload).map(|r| drop(wire::outcome_from(r))).map_err(text),
        Kind::Read => {
            let request = pb::JournalReadRequest::decode(payload).map_err(text)?;
            wire::read_from(request).map(drop).map_err(text)
        }
        Kind::ReadReply => {
            let reply = pb::JournalReadReply::decode(payload).map_err(text)?;
            wire::read_outcome_from(reply).map(drop)
        }
        Kind::Serve => {
            let request = pb::ServeRequest::decode(payload).map_err(text)?;
            codec::decode::<RouteTable>(&request.table).map(drop).map_err(text)
        }
        Kind::ServeReply => {
            let reply = pb::ServeReply::decode(payload).map_err(text)?;
            codec::decode::<FrontEndReport>(&reply.report).map(drop).map_err(text)
        }
        Kind::Look => {
            let request = pb::LookRequest::decode(payload).map_err(text)?;
            codec::decode::<Looks>(&request.looks).map(drop).map_err(text)
        }
        Kind::LookReply => {
            let bytes = payload.get(1..).unwrap_or_default();
            let reply = pb::LookReply::decode(bytes).map_err(text)?;
            codec::decode::<Sights>(&reply.sights).map(drop).map_err(text)
        }
        // What stands for TCP and TLS is not the product's.
        Kind::Connect | Kind::ConnectReply | Kind::Prove | Kind::ProveReply => Ok(()),
        Kind::Join => pb::JoinRequest::decode(payload).map(drop).map_err(text),
        Kind::Ask | Kind::AskReply | Kind::JoinReply => Ok(()),
    }
}
