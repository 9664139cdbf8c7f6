//! The queues of one installation. Everything goes through the default exchange, whose routing key is the queue.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind};

use super::address::Address;
use crate::queue::{Depth, LaneKind};

/// After so many returns a message goes to the dead-letter queue. A backstop against a message that kills its worker,
/// and not small: a crash counts against every message that the worker had prefetched, innocent ones too.
const DELIVERY_LIMIT: i64 = 20;

const PRECONDITION_FAILED: u16 = 406;

#[derive(Debug, Clone)]
pub struct Queues {
    pub single: ShortString,
    pub campaign: ShortString,
    pub dead: ShortString,
}

impl Queues {
    pub fn of(installation: &str) -> Self {
        let name = |kind: &str| ShortString::from(format!("disconnectd.{kind}.{installation}"));
        Self { single: name("single"), campaign: name("campaign"), dead: name("dead") }
    }

    pub fn lane(&self, lane: LaneKind) -> ShortString {
        match lane {
            LaneKind::Single => self.single.clone(),
            LaneKind::Campaign => self.campaign.clone(),
        }
    }

    /// Makes the queues that are missing and counts what waits in each. Changes nothing where they are there.
    pub async fn declare(&self, channel: &Channel, address: &Address) -> Result<Depth, String> {
        let dead = self.declare_one(channel, address, &self.dead, FieldTable::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(self.dead.as_str().into()));
        let single = self.declare_one(channel, address, &self.single, arguments.clone()).await?;
        let campaign = self.declare_one(channel, address, &self.campaign, arguments).await?;
        Ok(Depth { single, campaign, dead })
    }

    async fn declare_one(
        &self,
        channel: &Channel,
        address: &Address,
        name: &ShortString,
        mut arguments: FieldTable,
    ) -> Result<u64, String> {
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(name.clone(), options, arguments).await {
            Ok(queue) => Ok(queue.message_count().into()),
            Err(error) => match error.kind() {
                ErrorKind::ProtocolError(refusal) if refusal.get_id() == PRECONDITION_FAILED => Err(format!(
                    "the queue {name} is there with other properties than disconnectd needs ({}). Delete it: it is \
                     made again at once, and its messages are sent again from the database",
                    refusal.get_message()
                )),
                _ => Err(format!("the queue {name} cannot be declared: {}", address.explain(&error))),
            },
        }
    }
}
