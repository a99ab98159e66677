// WebRTC for node, under the names that bittorrent-tracker's client imports. Its own choice of a native module has to be
// downloaded from outside the package registry; this one comes as a package.
import wrtc from '@roamhq/wrtc';

export const { RTCPeerConnection, RTCSessionDescription, RTCIceCandidate } = wrtc;
