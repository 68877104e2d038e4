//! People's requests and answers as bytes: the product's protobuf behind the name of the method, as gRPC has it.
//!
//! What always holds: what reaches a coordinator's core, or a person, was encoded and decoded by the product's own
//! conversions; who asks is what the connection's certificate says, never what is in the message; nobody hears of a request
//! whose connection is closed.

use super::*;
use prost::Message;
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_coordinator::wire::{Answered, Asked, Refusal};
use slot_proto::pb;

/// Before the protobuf of an answer that is a no.
pub(super) const NO: u8 = 0;

fn request_bytes(asked: &Asked) -> Vec<u8> {
    let (method, message) = match asked {
        Asked::OpenSession(m) => (1, m.encode_to_vec()),
        Asked::MakePlan(m) => (2, m.encode_to_vec()),
        Asked::ApprovePlan(m) => (3, m.encode_to_vec()),
        Asked::RejectPlan(m) => (4, m.encode_to_vec()),
        Asked::AbortPlan(m) => (5, m.encode_to_vec()),
        Asked::Attest(m) => (6, m.encode_to_vec()),
        Asked::AdmitHost(m) => (7, m.encode_to_vec()),
        Asked::View(m) => (8, m.encode_to_vec()),
        Asked::Hold(m) => (9, m.encode_to_vec()),
        Asked::Release(m) => (10, m.encode_to_vec()),
        Asked::PausePlan(m) => (11, m.encode_to_vec()),
        Asked::ResumePlan(m) => (12, m.encode_to_vec()),
        Asked::Verify(m) => (13, m.encode_to_vec()),
        Asked::InviteHost(m) => (14, m.encode_to_vec()),
        Asked::RevokeInvitation(m) => (15, m.encode_to_vec()),
    };
    behind(method, &message)
}

fn read_request(bytes: &[u8]) -> Option<Asked> {
    let (method, message) = bytes.split_first()?;
    Some(match method {
        1 => Asked::OpenSession(pb::OpenSessionRequest::decode(message).ok()?),
        2 => Asked::MakePlan(pb::MakePlanRequest::decode(message).ok()?),
        3 => Asked::ApprovePlan(pb::ApprovePlanRequest::decode(message).ok()?),
        4 => Asked::RejectPlan(pb::EndPlanRequest::decode(message).ok()?),
        5 => Asked::AbortPlan(pb::EndPlanRequest::decode(message).ok()?),
        6 => Asked::Attest(pb::AttestRequest::decode(message).ok()?),
        7 => Asked::AdmitHost(pb::AdmitHostRequest::decode(message).ok()?),
        8 => Asked::View(pb::ViewRequest::decode(message).ok()?),
        9 => Asked::Hold(pb::HoldRequest::decode(message).ok()?),
        10 => Asked::Release(pb::HoldRequest::decode(message).ok()?),
        11 => Asked::PausePlan(pb::EndPlanRequest::decode(message).ok()?),
        14 => Asked::InviteHost(pb::InviteHostRequest::decode(message).ok()?),
        15 => Asked::RevokeInvitation(pb::RevokeInvitationRequest::decode(message).ok()?),
        12 => Asked::ResumePlan(pb::EndPlanRequest::decode(message).ok()?),
        13 => Asked::Verify(pb::VerifyRequest::decode(message).ok()?),
        _ => return None,
    })
}

pub(super) fn answer_bytes(id: u64, reply: Result<Reply, Failure>) -> Vec<u8> {
    let members = super::hosts::members();
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => {
            let Refusal { code, text, leader } = Refusal::of(&failure, members.values());
            let hint = leader.unwrap_or_default();
            // As gRPC's trailers have it: a number, a message, and the metadata.
            let (code, length) = (i32::from(code) as u8, hint.len() as u8);
            return [&[NO, code, length], hint.as_bytes(), text.as_bytes()].concat();
        }
    };
    let Some((by, _)) = members.get(&id) else { return Vec::new() };
    let (method, message) = match Answered::of(reply, by) {
        Answered::Session(m) => (1, m.encode_to_vec()),
        Answered::Plan(m) => (2, m.encode_to_vec()),
        Answered::Changed(m) => (3, m.encode_to_vec()),
        Answered::View(m) => (4, m.encode_to_vec()),
        Answered::Hold(m) => (5, m.encode_to_vec()),
    };
    behind(method, &message)
}

/// What a person is told, if it can be read.
pub(super) fn read_answer(bytes: &[u8]) -> Option<Result<Reply, Failure>> {
    let (method, message) = bytes.split_first()?;
    let answered = match *method {
        NO => return read_refusal(message).map(Err),
        1 => Answered::Session(pb::OpenSessionReply::decode(message).ok()?),
        2 => Answered::Plan(pb::PlanReply::decode(message).ok()?),
        3 => Answered::Changed(pb::ChangeReply::decode(message).ok()?),
        4 => Answered::View(pb::ViewReply::decode(message).ok()?),
        5 => Answered::Hold(pb::HoldReply::decode(message).ok()?),
        _ => return None,
    };
    Some(Ok(answered.reply()))
}

pub(super) fn read_refusal(bytes: &[u8]) -> Option<Failure> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (hint, text) = rest.split_at_checked(usize::from(head[1]))?;
    let leader = (!hint.is_empty()).then(|| String::from_utf8_lossy(hint).into_owned());
    let text = String::from_utf8_lossy(text).into_owned();
    Some(Refusal { code: i32::from(head[0]).into(), text, leader }.failure())
}

fn behind(method: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.len());
    bytes.push(method);
    bytes.extend_from_slice(message);
    bytes
}

impl Sim {
    /// Puts a person's request on its way.
    pub(crate) fn send_ask(&mut self, to: u64, number: u64, who: OperatorName, request: ControlRequest) {
        self.asks.insert(number, who);
        let bytes = request_bytes(&Asked::from(request));
        self.send(Place::Outside, Node::Coordinator(to), Kind::Ask, number, &bytes);
    }

    /// A coordinator gets a request; one that makes no sense is refused before its core.
    pub(crate) fn ask_in(&mut self, id: u64, number: u64, payload: &[u8]) -> Option<Work> {
        let who = self.asks.get(&number)?.clone();
        match ControlRequest::try_from(read_request(payload)?) {
            Ok(request) => {
                Some(Work::Coordinator(Box::new(coordinator::Event::Request { token: number, who, request })))
            }
            Err(failure) => {
                self.answer_person(id, number, Err(failure));
                None
            }
        }
    }

    /// A coordinator answers.
    pub(crate) fn answer_person(&mut self, id: u64, token: u64, reply: Result<Reply, Failure>) {
        if let Some(joiner) = self.joiner_of(token) {
            return self.answer_joiner(id, joiner, token, reply);
        }
        self.note(|| match &reply {
            Ok(_) => format!("c{id} answers yes"),
            Err(failure) => format!("c{id} answers: {failure}"),
        });
        if let Err(failure) = &reply
            && failure.to_string().contains("its own checker refuses")
        {
            self.finding("S9", format!("c{id}: {failure}"));
        }
        let bytes = answer_bytes(id, reply);
        self.answer(Place::Coordinator(id), Kind::AskReply, token, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_as_they_were_written() {
        let requests = [
            ControlRequest::OpenSession,
            ControlRequest::RejectPlan { request: None, plan: PlanId(3), reason: "no".into() },
            ControlRequest::Attest { request: None, host: crate::setup::host(1), how: "seen".into() },
        ];
        for request in requests {
            let asked = read_request(&request_bytes(&Asked::from(request.clone()))).expect("it is read");
            assert_eq!(ControlRequest::try_from(asked), Ok(request));
        }
        let leader = CoordinatorName::new("c2").ok();
        let answers = [
            Ok(Reply::Session(3)),
            Ok(Reply::Plan { id: PlanId(1), bytes: vec![1, 2, 3], people_missing: 2 }),
            Err(Failure::NotLeader { leader: leader.clone() }),
            Err(Failure::Interrupted { leader }),
            Err(Failure::Refused("not now".into())),
        ];
        for answer in answers {
            assert_eq!(read_answer(&answer_bytes(1, answer.clone())), Some(answer));
        }
        assert_eq!(read_answer(&[]), None);
        assert!(read_request(&[200, 1, 2]).is_none());
    }
}
