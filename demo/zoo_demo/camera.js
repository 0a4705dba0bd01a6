// The camera of the page. gradio calls this once, with `element`, `props`, `server` and `trigger` of its component.
const LONGEST_SIDE = 640; // pixels: networks see less
const FADING = 600; // milliseconds in which an old frame fades to 1/e
const SHOWN = 5;

const [video, button, shoot, devices, bars, facts, told] = [
  "video", "switch", "shoot", "devices", "bars", "facts", "told",
].map((part) => element.querySelector(`[data-part=${part}]`));
const root = element.querySelector(".zoo-camera");
// Not among `props`: gradio replaces them all when `target` changes, which may be before this is called.
const [shots, pause] = [root.dataset.burst, root.dataset.pause].map(Number);
const canvas = document.createElement("canvas");
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let stream = null;
let seen = null; // probabilities, faded from frame to frame

async function start(device) {
  stop();
  if (!navigator.mediaDevices) {
    told.textContent = "The browser hands out the camera on https and on this machine alone.";
    return;
  }
  const size = { width: { ideal: LONGEST_SIDE }, height: { ideal: 480 } };
  const which = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
  told.textContent = "Allow the camera, if the browser asks.";
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which } });
    const [track] = stream.getVideoTracks();
    const { deviceId, facingMode } = track.getSettings();
    track.addEventListener("ended", stop); // it was unplugged
    video.classList.toggle("zoo-mirrored", facingMode !== "environment");
    root.dataset.on = "";
    button.textContent = "Stop the camera";
    video.srcObject = stream;
    await video.play();
    await list(deviceId);
  } catch (error) {
    stop();
    const reasons = { NotAllowedError: "The camera is not allowed.", NotFoundError: "There is no camera." };
    told.textContent = reasons[error.name] ?? `The camera cannot be opened: ${error.message}`;
    return;
  }
  shoot.textContent = `Take ${shots} shots`;
  shoot.hidden = !shots;
  told.textContent = "";
  watch(stream);
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  delete root.dataset.on;
  button.textContent = "Start the camera";
  shoot.hidden = devices.hidden = true;
}

async function list(current) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
  devices.replaceChildren(
    ...cameras.map((each, n) => new Option(each.label || `Camera ${n + 1}`, each.deviceId)),
  );
  devices.value = current;
  devices.hidden = cameras.length < 2;
}

// Goes on while `own` is the stream; a camera on a tab that is left is put out.
async function watch(own) {
  let answered = 0;
  let rate = 0;
  while (stream === own) {
    const began = performance.now();
    if (!element.offsetParent) return stop();
    if (!shots && !document.hidden) {
      const answer = await send();
      const now = performance.now();
      if (stream !== own) return;
      if (answer.probabilities) {
        rate = answered ? 0.8 * (rate || 1000 / (now - answered)) + 200 / (now - answered) : 0;
        show(answer.probabilities, now - answered);
        answered = now;
        const latency = `${Math.round(now - began)} ms from frame to answer`;
        facts.textContent = [rate && `${rate.toFixed(1)} frames a second`, latency, answer.told].filter(Boolean).join("; ");
      }
    }
    await sleep(Math.max(pause - (performance.now() - began), 0));
  }
}

async function burst() {
  const own = stream;
  shoot.disabled = true;
  for (let shot = 1; shot <= shots && stream === own; shot++) {
    const answer = await send();
    if (answer.error) break;
    told.textContent = `${shot} of ${shots}: ${answer.told}`;
    trigger("input");
    await sleep(pause);
  }
  shoot.disabled = false;
}

async function send() {
  const shrink = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * shrink);
  canvas.height = Math.round(video.videoHeight * shrink);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  let answer;
  try {
    answer = await server.frame({ ...props.target, photo: canvas.toDataURL("image/jpeg", 0.9) });
  } catch {
    answer = { error: "The server does not answer." };
  }
  told.textContent = answer.error ?? "";
  if (answer.error) await sleep(500);
  return answer;
}

// A new frame weighs the more, the longer the last one is ago; other classes, of another model, begin anew.
function show(probabilities, passed) {
  const names = Object.keys(probabilities);
  if (!seen || names.some((name) => !(name in seen))) seen = probabilities;
  const weight = 1 - Math.exp(-passed / FADING);
  seen = Object.fromEntries(names.map((name) => [name, seen[name] + weight * (probabilities[name] - seen[name])]));
  const ranked = Object.entries(seen).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  bars.replaceChildren(...ranked.map(([name, probability]) => bar(name, probability)));
}

function bar(name, probability) {
  const row = document.createElement("li");
  const [label, percent] = [name, `${Math.round(100 * probability)} %`].map((text) => {
    const part = document.createElement("span");
    part.textContent = text;
    return part;
  });
  row.append(label, percent);
  row.style.setProperty("--share", `${100 * probability}%`);
  return row;
}

button.addEventListener("click", () => (stream ? stop() : start()));
devices.addEventListener("change", () => start(devices.value));
shoot.addEventListener("click", burst);
