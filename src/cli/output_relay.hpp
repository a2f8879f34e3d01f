// Passes on what mpirun writes into a pipe, and goes on reading when the pipe's reader has left
// (`sluice train ... | head`): mpirun itself gives up after its tenth SIGPIPE, and the run with it.
#pragma once

#include <sys/types.h>
#include <vector>

namespace sluice {

/// Processes of their own, which outlive a launcher that is killed.
class OutputRelay {
public:
    /// For each of standard output and standard error that is a pipe or a socket; for others,
    /// which have no reader that can leave, nothing. Throws UserError (usage).
    OutputRelay();
    ~OutputRelay();
    OutputRelay(const OutputRelay&) = delete;
    OutputRelay& operator=(const OutputRelay&) = delete;

    /// In the process that writes: its output goes through the relay.
    void attach() const;
    /// In the process that started it: everything is passed on, or 5 s are over. Before,
    /// nothing of attach()'s side may be open here any more.
    void finish();

private:
    struct Stream {
        int descriptor = -1, pipe_end = -1;
        pid_t process = 0;
    };
    void start(int descriptor);

    std::vector<Stream> streams_;
};

} // namespace sluice
