# What the scripts that measure have in common; it is read by them (`source`).
#
# They set: scratch, a directory; date, duration and rounds, what is said of the measuring; metrics, a line a column: KEY|GROUP|TITLE|PART|NAME|FACTOR|UNIT|BETTER, where BETTER is
# less, more or memory; servers, a line a row: NAME<tab>GROUP. What is measured is in $scratch/values, a line a value: KEY<tab>NAME<tab>VALUE.

# Where who runs. For a round trip both are on one processor: it is what the programs and the kernel do then; on two it is mostly how
# long an idle processor takes to wake, which is several times as much on a virtual machine and the same for every server. For
# all else each has its half of the processors: left alone, the kernel puts them together or apart as it happens.
processors=$(nproc --all)
if command -v taskset >/dev/null && [ "$processors" -gt 1 ]; then
    servers_half=0-$((processors / 2 - 1)) clients_half=$((processors / 2))-$((processors - 1))
    pin() { # PROCESSORS: where the server runs from now on
        taskset -acp "$1" "$running" >/dev/null 2>&1 || true
    }
    on() { # PROCESSORS COMMAND...
        taskset -c "$@"
    }
else
    servers_half=all clients_half=all
    pin() { :; }
    on() { "${@:2}"; }
fi

# The number of a name in a flat JSON object.
number() { # NAME
    sed -n "s/.*\"$1\":\\([-0-9.eE+]*\\).*/\\1/p"
}

# The median of what was measured.
median() { # KEY NAME
    awk -F '\t' -v key="$1" -v name="$2" '$1 == key && $2 == name { print $3 }' "$scratch/values" | sort -g |
        awk '{ value[NR] = $1 } END { if (NR) print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

# A number for people, with its ratio to that of the bare server: above 1 is better, whatever the unit.
cell() { # VALUE BASE FACTOR UNIT BETTER
    [ -n "$1" ] || { echo -; return; }
    awk -v value="$1" -v base="${2:-0}" -v factor="$3" -v unit="$4" -v better="$5" 'BEGIN {
        shown = value * factor
        printf(shown < 10 ? "%.2f" : shown < 100 ? "%.1f" : "%.0f", shown)
        printf " %s", unit
        if (better != "memory" && base > 0 && value > 0)
            printf " (%.2f)", better == "less" ? base / value : value / base
    }'
}

# A table in Markdown of all servers of a group, compared with one of them.
table() { # PROTOCOL BASE
    local metric key protocol title factor unit better line name value base
    printf '| |'
    for metric in "${metrics[@]}"; do
        IFS='|' read -r key protocol title _ <<<"$metric"
        [ "$protocol" != "$1" ] || printf ' %s |' "$title"
    done
    printf '\n| --- |'
    for metric in "${metrics[@]}"; do
        [[ $metric != *"|$1|"* ]] || printf ' ---: |'
    done
    printf '\n'
    for line in "${servers[@]}"; do
        IFS=$'\t' read -r name protocol _ <<<"$line"
        [ "$protocol" = "$1" ] || continue
        printf '| %s |' "$name"
        for metric in "${metrics[@]}"; do
            IFS='|' read -r key protocol title _ _ factor unit better <<<"$metric"
            [ "$protocol" = "$1" ] || continue
            value=$(median "$key" "$name")
            base=$(median "$key" "$2")
            printf ' %s |' "$(cell "$value" "$base" "$factor" "$unit" "$better")"
        done
        printf '\n'
    done
}

# Where and how it was measured.
machine() { # WHAT: a sentence
    local model
    model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
    echo "Measured on ${model:-$(uname -m)}, $(nproc) processors, Linux $(uname -r | cut -d- -f1)${date:+, $date}.$1" \
        "${duration:+$duration a part, }rounds: $rounds, of which the median counts."
}
