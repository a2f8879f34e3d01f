#include "pipeline/transport/nccl_connection.hpp"

#include "core/error.hpp"

#include <exception>
#include <utility>

namespace sluice {

namespace {

constexpr MessageId nccl_mark = MessageId{1} << 61;

const NcclLibrary& nccl() { return NcclLibrary::loaded(); }

} // namespace

void check_nccl(ncclResult_t result, const std::string& what)
{
    if (result != ncclSuccess)
        throw PeerError(what + ": " + nccl().get_error_string(result));
}

NcclConnection::NcclConnection(Device device, const ncclUniqueId& id, int num_ranks, int place,
                               std::string name)
    : stream_(device, StreamPriority::high, 0), name_(std::move(name))
{
    check_nccl(nccl().comm_init_rank(&communicator_, num_ranks, id, place),
               "connecting for " + name_);
}

NcclConnection::~NcclConnection()
{
    if (std::uncaught_exceptions() == 0)
        nccl().comm_destroy(communicator_);
    else
        nccl().comm_abort(communicator_);
}

void NcclConnection::send(const void* data, std::size_t num_bytes, int to)
{
    check_nccl(nccl().send(data, num_bytes, ncclChar, to, communicator_, native()),
               "sending " + name_);
}

void NcclConnection::receive(void* data, std::size_t num_bytes, int from)
{
    check_nccl(nccl().receive(data, num_bytes, ncclChar, from, communicator_, native()),
               "receiving " + name_);
}

void NcclConnection::check_state() const
{
    ncclResult_t state = ncclSuccess;
    check_nccl(nccl().comm_get_async_error(communicator_, &state), name_);
    if (state != ncclInProgress)
        check_nccl(state, name_);
}

TransportOverNccl::TransportOverNccl(Transport& host, const Stream& compute)
    : TransportOver(host), compute_(compute), messages_(nccl_mark)
{
}

void TransportOverNccl::wait(MessageId id)
{
    if (!messages_.has(id)) {
        host().wait(id);
        return;
    }
    // From here on the host may wait for others wherever it waits for the computing stream.
    host().start_all();
    const std::size_t index = messages_.index_of(id);
    messages_[index].done->hold_back(compute_);
    messages_.remove(index);
}

bool TransportOverNccl::is_done(MessageId id)
{
    return messages_.has(id) ? messages_[messages_.index_of(id)].done->reached()
                             : host().is_done(id);
}

void TransportOverNccl::follow_compute(const NcclConnection& connection)
{
    computed_.record(compute_);
    computed_.hold_back(connection.stream());
}

} // namespace sluice
