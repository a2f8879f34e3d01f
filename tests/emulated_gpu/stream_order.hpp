// What comes before what on emulated GPUs, by streams, events and waits of the host alone, however
// early or late the work then ran. Work that touches memory is told here when it is queued; where
// nothing orders it and another stream's work on the same bytes, and one of them writes, a wait is
// missing: an error, in the first run, whatever the values were.
//
// Each stream has a clock that says how much of every stream is done before its next work. An event
// carries the clock of where it was recorded to whoever waits for it. The host has one clock, as if
// its threads told one another at once what they waited for: so what only another thread has waited
// for is not found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice::testing {

struct MemoryAccess {
    const void* begin;
    std::size_t num_bytes;
    bool written;
    const char* operand; ///< of the work, for errors
};
using MemoryAccesses = std::vector<MemoryAccess>;

/// By stream: how many pieces of its work are done. Streams behind the end: none.
using WorkDone = std::vector<std::uint64_t>;

class StreamOrder {
public:
    /// Its number.
    std::size_t add_stream();

    /// Throws EmulationError, naming both, where another stream's work on the same memory is in no
    /// order with it.
    void add_work(std::size_t stream, const std::string& name, const MemoryAccesses& accesses);
    /// Of what the stream has been given so far.
    const WorkDone& done_by(std::size_t stream) const { return streams_[stream]; }
    /// The stream's next work waits for all that.
    void hold_back(std::size_t stream, const WorkDone& done);
    void host_waited(const WorkDone& done);
    void host_waited_for_all();
    /// What touches the memory, with its operand, and may not be done as far as the host has
    /// waited: "copy (source) reads". Empty: nothing.
    std::string still_used_by(const void* begin, std::size_t num_bytes) const;

    /// Something without a stream (a message of MPI) touches memory from now on until it ends:
    /// what the host has not waited for may not, and what is queued meanwhile.
    void begin_outside(std::int64_t key, const std::string& name, const MemoryAccess& access);
    void end_outside(std::int64_t key);

private:
    struct Step {
        std::size_t stream = 0;
        std::uint64_t position = 0; ///< 0: none
        std::string name;
        bool known_to(const WorkDone& clock) const;
    };
    struct Segment {
        std::uintptr_t end = 0;
        Step write;
        std::vector<Step> reads; ///< since that write, the last one of each stream
    };
    struct Outside {
        std::string name;
        MemoryAccess access;
    };

    void split(std::uintptr_t address);
    /// Of what was accessed there; with what was not as empty segments between.
    template <class Visit>
    void for_each_segment(const MemoryAccess& access, const Visit& visit);
    void check(const Segment& segment, const MemoryAccess& access, const WorkDone& known,
               const std::string& name) const;
    void check_outside(const MemoryAccess& access, const std::string& name) const;
    void note(const MemoryAccess& access, const Step& step);

    std::vector<WorkDone> streams_;
    WorkDone host_;
    std::map<std::uintptr_t, Segment> segments_; ///< by where they begin, without overlaps
    std::map<std::int64_t, Outside> outside_;    ///< by key
};

} // namespace sluice::testing
