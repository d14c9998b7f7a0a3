#!/usr/bin/env bash
# A real Kafka (one KRaft node, on loopback, in the foreground) from Apache's own jars.
#
#   kafka.sh [--port PORT] [--data FOLDER] [--until-stdin-closes]
#
# Prints one line on stdout, `ready 127.0.0.1:PORT`, once it serves; all else goes to stderr.
# This process becomes the broker, so signals reach it: SIGTERM and SIGINT end it cleanly.
# Without --port it takes a free one, without --data a temporary folder that goes with it; with the
# same of both, a stopped or killed broker goes on where it was. Whoever keeps the other end of its
# stdin and passes --until-stdin-closes takes the broker along, however it dies.
# The jars (45 MB) are fetched by Maven once, into ${XDG_CACHE_HOME:-~/.cache}/hunch.
# Exit codes: 2 wrong use, 3 Java or Maven is missing, 1 anything else.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pom=$here/pom.xml
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$pom")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hunch
jars=$cache/kafka-$version
java=${JAVA_HOME:+$JAVA_HOME/bin/}java

refuse() { # code, sentence
  echo "$2" >&2
  exit "$1"
}

contents() { # folder of jars
  (cd "$1" && wc -c -- *.jar)
}

is_filled() {
  cmp -s "$pom" "$jars/pom.xml" && [ "$(contents "$jars")" = "$(cat "$jars/contents")" ]
}

is_taken() { # port
  (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() { # below the range that systems give to clients
  local found
  while found=$((20000 + RANDOM % 10000)); is_taken "$found"; do :; done
  echo "$found"
}

require_java() {
  local major
  major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true
  [ "${major:-0}" -ge 17 ] || refuse 3 \
    "A local Kafka needs Java 17 or later, and '$java' is ${major:+Java }${major:-missing}: install a JDK (Debian: apt install openjdk-17-jdk-headless, macOS: brew install openjdk) or set JAVA_HOME."
}

fetch_jars() {
  command -v mvn >/dev/null || refuse 3 \
    "Kafka's jars are fetched by Maven, and 'mvn' is missing: install it (Debian: apt install maven, macOS: brew install maven)."
  echo "Fetching Kafka $version into $jars (45 MB, once)." >&2
  mkdir -p "$cache"
  local fill
  fill=$(mktemp -d "$cache/filling.XXXXXX")
  # shellcheck disable=SC2064  # the folder is known here and not when the trap runs
  trap "rm -rf '$fill'" EXIT
  mvn -q -B -Dstyle.color=never -f "$pom" dependency:copy-dependencies \
    -DoutputDirectory="$fill" -DincludeScope=runtime >&2 ||
    refuse 1 "Maven could not fetch Kafka's jars; the lines above say why."
  cp "$pom" "$fill/pom.xml"
  contents "$fill" >"$fill/contents"
  # File by file, each at once, the list last: another start may do the same at this moment.
  mkdir -p "$jars"
  local jar
  for jar in "$jars"/*.jar; do
    if [ ! -e "$fill/${jar##*/}" ]; then rm -f "$jar"; fi
  done
  mv -f "$fill"/*.jar "$jars"
  mv -f "$fill/pom.xml" "$jars"
  mv -f "$fill/contents" "$jars"
  rm -rf "$fill"
  trap - EXIT
}

port='' data='' with_stdin='' temporary=''
while [ $# -gt 0 ]; do
  case $1 in
    --port | --data)
      [ $# -gt 1 ] || refuse 2 "$1 needs a value."
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    --until-stdin-closes) with_stdin=1 && shift ;;
    *) refuse 2 "Unknown argument '$1'; use: kafka.sh [--port PORT] [--data FOLDER] [--until-stdin-closes]" ;;
  esac
done

require_java
is_filled 2>/dev/null || fetch_jars

if [ -z "$port" ]; then
  port=$(free_port)
elif is_taken "$port"; then
  refuse 1 "Port $port of 127.0.0.1 is taken: choose another one, or end what listens there."
fi
controller=$(free_port)
while [ "$controller" = "$port" ]; do controller=$(free_port); done
if [ -z "$data" ]; then
  data=$(mktemp -d "${TMPDIR:-/tmp}/hunch-kafka.XXXXXX")
  temporary=1
fi
mkdir -p "$data"
data=$(cd "$data" && pwd)

cat >"$data/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$data/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
num.network.threads=2
num.io.threads=2
P
jvm=("$java" -Xms256m -Xmx512m -XX:+UseSerialGC -cp "$jars/*"
  "-Dlog4j2.configurationFile=file:$here/log4j2.yaml" "-Dhunch.bootstrap=127.0.0.1:$port")

watch_over() { # pid of the broker
  local stdin_reader='' tries=0
  trap '' INT HUP TERM # Ctrl-C reaches the whole group, and somebody must tidy up
  if [ -n "$with_stdin" ]; then
    cat <&3 >/dev/null &
    stdin_reader=$!
  fi
  while kill -0 "$1" && { [ -z "$stdin_reader" ] || kill -0 "$stdin_reader"; }; do sleep 0.5; done
  while kill -0 "$1" && [ $((tries += 1)) -le 20 ]; do kill -TERM "$1" && sleep 0.5; done
  if kill -0 "$1"; then kill -KILL "$1"; fi
  if [ -n "$stdin_reader" ] && kill -0 "$stdin_reader"; then kill -KILL "$stdin_reader"; fi
  if [ -n "$temporary" ]; then rm -rf "$data"; fi
}

if [ -n "$with_stdin$temporary" ]; then
  exec 3<&0
  watch_over $$ >/dev/null 2>&1 &
  exec 3<&-
fi

# A folder that has been formatted stays as it is.
"${jvm[@]}" kafka.tools.StorageTool format --ignore-formatted \
  -t hunchlocalkafkahunch0w -c "$data/server.properties" >&2 ||
  refuse 1 "Kafka could not use the folder $data; the lines above say why."
exec "${jvm[@]}" kafka.Kafka "$data/server.properties" </dev/null
