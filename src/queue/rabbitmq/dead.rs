//! The dead-letter queue, as a person looks at it and empties it.

use chrono::DateTime;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::connection::{Wire, close_quietly};
use super::consumer::trace_of;
use super::publisher;
use super::topology::Queues;
use crate::domain::event::Order;
use crate::domain::trace::TraceParent;
use crate::queue::dead::{DeadLetter, Death, Settled, Settlement, Which};
use crate::queue::{LaneKind, Published};

/// How many are taken at a time: each waits at the broker until it is settled.
pub const TAKEN_MAX: usize = 10_000;

struct Held {
    tag: u64,
    letter: DeadLetter,
    /// It goes back with it.
    trace: Option<TraceParent>,
}

/// Messages that are taken out, on a channel of their own. What is not settled goes back when that closes.
pub struct Taken<'a> {
    wire: &'a Wire,
    queues: &'a Queues,
    installation: &'a str,
    channel: Channel,
    letters: Vec<Held>,
}

impl<'a> Taken<'a> {
    pub async fn out(
        wire: &'a Wire,
        queues: &'a Queues,
        installation: &'a str,
        limit: usize,
    ) -> Result<Taken<'a>, String> {
        let channel = wire.open_channel().await?;
        queues.declare(&channel, &wire.address).await?;
        let mut letters = Vec::new();
        while letters.len() < limit.min(TAKEN_MAX) {
            let got = channel.basic_get(queues.dead.clone(), BasicGetOptions { no_ack: false }).await;
            let Some(message) = got.map_err(|error| wire.address.explain(&error))? else { break };
            let letter = DeadLetter::of(installation, &message.delivery.data, death(&message.delivery, queues));
            let (tag, trace) = (message.delivery.delivery_tag, trace_of(&message.delivery));
            letters.push(Held { tag, letter, trace });
        }
        Ok(Self { wire, queues, installation, channel, letters })
    }

    /// Puts all of them back.
    pub fn shown(self) -> Vec<DeadLetter> {
        close_quietly(&self.channel);
        self.letters.into_iter().map(|taken| taken.letter).collect()
    }

    pub async fn settled(self, which: &Which, settlement: Settlement) -> Result<Settled, String> {
        let mut settled = Settled::default();
        for Held { tag, letter, trace } in self.letters.iter().filter(|taken| which.has(&taken.letter.id)) {
            let may_go = match settlement {
                Settlement::Drop => true,
                Settlement::Requeue => {
                    // Where it is not said, either queue wakes a worker.
                    let lane = letter.lane.unwrap_or(LaneKind::Single);
                    match letter.order().map(|order| Order { trace: *trace, ..order }) {
                        Some(order) => self.requeued(lane, order).await,
                        None => false,
                    }
                }
            };
            if may_go {
                let acked = self.channel.basic_ack(*tag, BasicAckOptions { multiple: false }).await;
                acked.map_err(|error| self.wire.address.explain(&error))?;
                settled.done.push(letter.id.clone());
            } else {
                settled.left.push(letter.id.clone());
            }
        }
        // Once it is closed, the broker has taken what was acknowledged.
        self.channel.close(200, "OK".into()).await.map_err(|error| self.wire.address.explain(&error))?;
        Ok(settled)
    }

    async fn requeued(&self, lane: LaneKind, order: Order) -> bool {
        publisher::publish(self.wire, self.queues, self.installation, lane, &[order]).await == [Published::Confirmed]
    }
}

/// The latest of what the broker has written into the message.
fn death(delivery: &Delivery, queues: &Queues) -> Death {
    let headers = delivery.properties.headers().as_ref();
    let deaths = headers.and_then(|headers| headers.inner().get("x-death"));
    let Some(AMQPValue::FieldArray(deaths)) = deaths else { return Death::default() };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else { return Death::default() };
    let queue = text(last, "queue");
    Death {
        lane: LaneKind::ALL.into_iter().find(|lane| queue.as_deref() == Some(queues.lane(*lane).as_str())),
        reason: text(last, "reason"),
        at: match last.inner().get("time") {
            Some(AMQPValue::Timestamp(seconds)) => {
                i64::try_from(*seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            }
            _ => None,
        },
    }
}

fn text(table: &FieldTable, name: &str) -> Option<String> {
    match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}
