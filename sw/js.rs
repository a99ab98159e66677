//! Small bridges to JavaScript that both drivers use.
//!
//! Every visitor downloads them, and every wake compiles them, so what is used all over is a call that is there once:
//! objects are built field by field ([`Fields`]; `serde-wasm-bindgen` over derived `Serialize` is 6 KB of wasm by
//! itself), and futures are boxed before they are run ([`spawn`], [`promise`]): the machinery behind them is there once,
//! not once for each type of future.

use std::cell::RefCell;
use std::pin::Pin;

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use peerage::Millis;
use peerage::digest::Digest;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, ms: f64) -> JsValue;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = digest)]
    fn subtle_digest(algorithm: &str, bytes: &Uint8Array) -> Promise;
    #[wasm_bindgen(js_namespace = console)]
    pub(crate) fn warn(text: &str);
    /// The window's or worker's `fetch`, with a URL and a `RequestInit`.
    #[wasm_bindgen(js_name = fetch)]
    pub(crate) fn fetch(url: &str, init: &JsValue) -> Promise;

    /// The same, with a `Request` for what the `RequestInit` doesn't say.
    #[wasm_bindgen(js_name = fetch)]
    pub(crate) fn fetch_like(request: &web_sys::Request, init: &JsValue) -> Promise;
}

/// The result of something JavaScript.
pub(crate) type Js<T> = Result<T, JsValue>;

/// A property; `undefined` where there is none.
pub(crate) fn get(of: &JsValue, key: &str) -> JsValue {
    Reflect::get(of, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

/// A property as text; empty where it is something else.
pub(crate) fn text(of: &JsValue, key: &str) -> String {
    get(of, key).as_string().unwrap_or_default()
}

/// Sets a property of a plain object.
pub(crate) fn set(of: &Object, key: &str, value: impl Into<JsValue>) {
    // A plain object takes any property.
    let _ = Reflect::set(of, &key.into(), &value.into());
}

/// A plain object with these properties.
pub(crate) fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in fields {
        set(&object, key, value.clone());
    }
    object
}

/// A plain object under construction. Its setters are calls, not inlined copies: objects are built all over the worker.
pub(crate) struct Fields(Object);

impl Fields {
    pub(crate) fn new() -> Self {
        Self(Object::new())
    }

    #[inline(never)]
    pub(crate) fn value(self, key: &str, value: JsValue) -> Self {
        set(&self.0, key, value);
        self
    }

    /// Exact up to 2^53.
    #[inline(never)]
    pub(crate) fn number(self, key: &str, value: u64) -> Self {
        self.value(key, (value as f64).into())
    }

    /// `null` where there is none.
    #[inline(never)]
    pub(crate) fn optional(self, key: &str, value: Option<u64>) -> Self {
        self.value(key, value.map_or(JsValue::NULL, |value| (value as f64).into()))
    }

    #[inline(never)]
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.value(key, value.into())
    }

    #[inline(never)]
    pub(crate) fn flag(self, key: &str, value: bool) -> Self {
        self.value(key, value.into())
    }

    pub(crate) fn done(self) -> JsValue {
        self.0.into()
    }
}

/// Values as an array.
pub(crate) fn list(values: impl Iterator<Item = JsValue>) -> JsValue {
    values.collect::<Array>().into()
}

/// An error to throw.
pub(crate) fn error(message: &str) -> JsValue {
    js_sys::Error::new(message).into()
}

/// The driver's monotonic clock.
pub(crate) fn now() -> Millis {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of milliseconds")]
    Millis(performance_now() as u64)
}

/// Unix time in seconds.
pub(crate) fn unix_time() -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of seconds")]
    let seconds = (js_sys::Date::now() / 1000.0) as u64;
    seconds
}

/// Runs a future beside everything else. Boxed, so that the machinery behind it is there once, not once for each future.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    spawn_boxed(Box::pin(future));
}

#[inline(never)]
fn spawn_boxed(future: Pin<Box<dyn Future<Output = ()>>>) {
    wasm_bindgen_futures::spawn_local(future);
}

/// Runs a future; a promise of what it leads to. Boxed as in [`spawn`].
pub(crate) fn promise(future: impl Future<Output = Js<JsValue>> + 'static) -> Promise {
    promise_boxed(Box::pin(future))
}

#[inline(never)]
fn promise_boxed(future: Pin<Box<dyn Future<Output = Js<JsValue>>>>) -> Promise {
    wasm_bindgen_futures::future_to_promise(future)
}

/// Waits for a promise.
pub(crate) async fn wait(promise: Promise) -> Js<JsValue> {
    JsFuture::from(promise).await
}

/// Waits for some milliseconds.
pub(crate) async fn sleep(ms: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a few seconds at most")]
    let promise = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, ms as f64);
    });
    let _ = wait(promise).await;
}

/// SHA-256 by WebCrypto: four times as fast as wasm, and it need not copy the bytes.
pub(crate) async fn sha256(bytes: &Uint8Array) -> Js<Digest> {
    let digest = Uint8Array::new(&wait(subtle_digest("SHA-256", bytes)).await?);
    Digest::from_slice(&digest.to_vec()).ok_or_else(|| error("WebCrypto gave no SHA-256"))
}

thread_local! {
    static ON_TRAP: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Tells JavaScript of a panic before the wasm traps: none of the promises that depend on this instance settles after it.
pub(crate) fn report_traps(to: Function) {
    ON_TRAP.with(|slot| slot.replace(Some(to)));
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        ON_TRAP.with(|slot| {
            if let Some(to) = slot.try_borrow().ok().and_then(|s| s.clone()) {
                let _ = to.call1(&JsValue::NULL, &info.to_string().into());
            }
        });
    }));
}
