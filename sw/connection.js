// A peer connection, made in the page for the mesh worker: no other context has RTCPeerConnection. The worker decides when
// one is made and closed, and owns its channel as soon as the browser can transfer it; where it cannot, bytes are relayed.
// The messages are described in docs/protocol.md.

const GATHER_MS = 2000; // how long candidates are waited for
const LOW_WATER = 32 * 1024; // bytes, for channels that the page relays

/**
 * One RTCPeerConnection with one channel: makes an offer or, where `offer` is given, answers it. `tell` takes messages
 * for the mesh worker.
 */
function makeLink(conn, ice, offer, tell) {
  let connection = null;
  let relayed = null; // the channel, where this browser cannot transfer it

  async function negotiate() {
    try {
      connection = new RTCPeerConnection({ iceServers: ice });
      connection.onconnectionstatechange = () => {
        if (connection?.connectionState === "failed") lose("the connection failed");
      };
      if (offer) {
        connection.ondatachannel = (event) => handOver(event.channel);
        await connection.setRemoteDescription({ type: "offer", sdp: offer });
      } else {
        handOver(connection.createDataChannel("peerage", { ordered: true }));
      }
      await connection.setLocalDescription();
      await gathered(connection);
      const { type, sdp } = connection.localDescription;
      tell({ sdp: { conn, type, sdp } });
    } catch (error) {
      lose(error.message);
    }
  }

  /** A channel can be transferred only in the task that made it, before anything is sent over it. */
  function handOver(channel) {
    try {
      return tell({ channel: { conn, channel } }, [channel]);
    } catch {
      relay(channel);
    }
  }

  function relay(channel) {
    relayed = channel;
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = LOW_WATER;
    channel.onopen = () => tell({ open: { conn } });
    channel.onclose = () => tell({ closed: { conn } });
    channel.onbufferedamountlow = tellBuffered;
    channel.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) tell({ msg: { conn, data } }, [data]);
      else lose("a text message"); // Peerage sends none
    };
    tell({ relay: { conn } });
    if (channel.readyState === "open") channel.onopen();
  }

  function tellBuffered() {
    tell({ low: { conn, buffered: relayed.bufferedAmount } });
  }

  function send(data) {
    try {
      relayed.send(data);
      // Below the threshold no event comes, and the worker cannot see the buffer.
      if (relayed.bufferedAmount <= LOW_WATER) tellBuffered();
    } catch (error) {
      lose(error.message);
    }
  }

  function answered(sdp) {
    connection?.setRemoteDescription({ type: "answer", sdp }).catch((error) => lose(error.message));
  }

  function close() {
    connection?.close();
    connection = null;
  }

  function lose(why) {
    close();
    tell({ gone: { conn, why } });
  }

  return { negotiate, answered, send, close };
}

/** All candidates are in, or as many as came in time: a description is sent once, whole. */
function gathered(connection) {
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    const look = () => connection.iceGatheringState === "complete" && resolve();
    connection.onicegatheringstatechange = look;
    look();
  });
}
