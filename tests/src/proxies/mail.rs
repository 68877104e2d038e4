//! Mail: how it is sent to Postfix, and who takes it where the stores' masters are.
//!
//! What always holds: a sink stands on every slot's own address and notes the subject of each mail it takes, once it has the whole of
//! it; nothing is ever refused there.

use crate::Outcome;
use crate::cluster::Cluster;
use crate::shape::host;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where sinks listen, beside the engine.
pub(super) const SINK_PORT: u16 = 2424;
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes mail on every slot.
pub struct Sinks {
    stopping: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(String, String)>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// One on every slot of the cluster.
    pub fn start(cluster: &Cluster) -> Outcome<Self> {
        let mut sinks = Self { stopping: Arc::default(), taken: Arc::default(), threads: Vec::new() };
        for n in 1..=cluster.shape.hosts {
            for number in 1..=cluster.shape.slots {
                let at: IpAddr = cluster.block().slot(n, number).ip();
                let listener = TcpListener::bind((at, SINK_PORT))?;
                listener.set_nonblocking(true)?;
                let (slot, stopping) = (format!("{}/{number:02}", host(n)), sinks.stopping.clone());
                let taken = sinks.taken.clone();
                sinks.threads.push(std::thread::spawn(move || serve(&listener, &slot, &stopping, &taken)));
            }
        }
        Ok(sinks)
    }

    /// The slots that took the mail with this subject.
    pub fn took(&self, subject: &str) -> Vec<String> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().filter(|(_, of)| of == subject).map(|(slot, _)| slot.clone()).collect()
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, slot: &str, stopping: &AtomicBool, taken: &Mutex<Vec<(String, String)>>) {
    while !stopping.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Ok(Some(subject)) = take(&stream) {
                    taken.lock().unwrap_or_else(PoisonError::into_inner).push((slot.to_owned(), subject));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => return,
        }
    }
}

/// Speaks LMTP until the other side ends; the subject of the mail that was taken.
fn take(stream: &TcpStream) -> std::io::Result<Option<String>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = stream;
    let (mut in_data, mut subject, mut taken) = (false, None, None);
    out.write_all(b"220 sink\r\n")?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if in_data {
            if let Some(text) = line.strip_prefix("Subject: ") {
                subject = Some(text.trim().to_owned());
            }
            if line == "." {
                (in_data, taken) = (false, subject.take());
                out.write_all(b"250 taken\r\n")?;
            }
            continue;
        }
        let answer: &[u8] = match line.get(..4) {
            Some("DATA") => b"354 go on\r\n",
            Some("QUIT") => b"221 bye\r\n",
            _ => b"250 yes\r\n",
        };
        in_data = answer.starts_with(b"354");
        out.write_all(answer)?;
        if answer.starts_with(b"221") {
            break;
        }
    }
    Ok(taken)
}

/// Sends a mail for somebody in a store; Postfix has it in its queue when this answers.
pub fn send(to: SocketAddr, store: &str, subject: &str) -> Outcome<()> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(&stream).lines();
    let mut say = |text: String, wanted: &str| -> Outcome<()> {
        (&stream).write_all(text.as_bytes())?;
        let answer = answers.next().ok_or("Postfix hung up")??;
        if answer.starts_with(wanted) { Ok(()) } else { Err(format!("{}: {answer}", text.trim()).into()) }
    };
    say(String::new(), "220")?;
    say("HELO client.test\r\n".into(), "250")?;
    say("MAIL FROM:<somebody@client.test>\r\n".into(), "250")?;
    say(format!("RCPT TO:<user@{store}>\r\n"), "250")?;
    say("DATA\r\n".into(), "354")?;
    say(format!("Subject: {subject}\r\n\r\nhello\r\n.\r\n"), "250")?;
    say("QUIT\r\n".into(), "221")
}
