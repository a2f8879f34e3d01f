// MPI from its start to its end, and its errors as ours.
#pragma once

#include <string>

namespace sluice {

/// What MPI says about an error code.
std::string mpi_error_text(int code);

/// Throws PeerError unless the call succeeded.
void check_mpi(int code, const char* call);

/// From before the first communicator to behind the last: one in a process. Errors come back as
/// codes. Throws PeerError where MPI cannot be started.
class MpiSession {
public:
    MpiSession();
    ~MpiSession();
    MpiSession(const MpiSession&) = delete;
    MpiSession& operator=(const MpiSession&) = delete;

    /// Finalising would wait for peers that wait for us: the caller aborts.
    void abandon() { abandoned_ = true; }

private:
    bool abandoned_ = false;
};

} // namespace sluice
