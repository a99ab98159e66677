//! One connection's data channel: handed over by the page, or relayed by it where the browser cannot hand it over.

use js_sys::{Array, Uint8Array};
use peerage::mesh::Input;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelType};

use super::{tell_with, with};

/// A channel says when it has no more than this to send: half of what the mesh keeps in it.
const LOW: u32 = 32 * 1024;

/// See the module.
pub(super) enum Channel {
    Direct(Direct),
    /// What the page has not sent yet, as far as it has told.
    Relayed(usize),
}

pub(super) struct Direct {
    channel: RtcDataChannel,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_open: Closure<dyn FnMut()>,
    _on_close: Closure<dyn FnMut()>,
    _on_low: Closure<dyn FnMut()>,
}

impl Channel {
    pub(super) fn direct(conn: u32, channel: RtcDataChannel) -> Self {
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            with(|d| d.receive(conn, &event.data()));
        });
        let on_open = Closure::<dyn FnMut()>::new(move || with(|d| d.handle(Input::Open { conn }, None)));
        let on_close = Closure::<dyn FnMut()>::new(move || with(|d| d.gone(conn)));
        let of = channel.clone();
        let on_low = Closure::<dyn FnMut()>::new(move || with(|d| d.low(conn, of.buffered_amount() as usize)));
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        channel.set_buffered_amount_low_threshold(LOW);
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        channel.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        channel.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        channel.set_onbufferedamountlow(Some(on_low.as_ref().unchecked_ref()));
        Self::Direct(Direct {
            channel,
            _on_message: on_message,
            _on_open: on_open,
            _on_close: on_close,
            _on_low: on_low,
        })
    }

    pub(super) fn relayed() -> Self {
        Self::Relayed(0)
    }

    /// Sends a message; what the channel has then still to send, in bytes, or `None` where it cannot send any more.
    pub(super) fn send(&mut self, conn: u32, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Direct(d) => d.channel.send_with_u8_array(bytes).ok().map(|()| d.channel.buffered_amount() as usize),
            Self::Relayed(_) => self.relay(conn, &Uint8Array::from(bytes)),
        }
    }

    /// As [`Self::send`], from memory outside of wasm, which may be overwritten afterwards.
    pub(super) fn send_view(&mut self, conn: u32, bytes: &Uint8Array) -> Option<usize> {
        match self {
            Self::Direct(d) => {
                d.channel.send_with_array_buffer_view(bytes).ok().map(|()| d.channel.buffered_amount() as usize)
            }
            Self::Relayed(_) => self.relay(conn, &bytes.slice(0, bytes.length())),
        }
    }

    /// What it has still to send.
    pub(super) fn drained(&mut self, left: usize) {
        if let Self::Relayed(buffered) = self {
            *buffered = left;
        }
    }

    pub(super) fn close(self) {
        // Its handlers go first.
        if let Self::Direct(direct) = self {
            drop(direct);
        }
    }

    fn relay(&mut self, conn: u32, bytes: &Uint8Array) -> Option<usize> {
        let Self::Relayed(buffered) = self else { return None };
        *buffered += bytes.length() as usize;
        let data = bytes.buffer();
        tell_with(&[("cmd", "send".into()), ("conn", conn.into()), ("data", data.clone().into())], &Array::of1(&data));
        Some(*buffered)
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.set_onopen(None);
        self.channel.set_onclose(None);
        self.channel.set_onbufferedamountlow(None);
        self.channel.close();
    }
}
