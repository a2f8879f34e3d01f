#include "pipeline/transport/nccl_connection.hpp"

#include "core/compute_stream.hpp"
#include "core/error.hpp"

#include <utility>

namespace sluice {

namespace {

constexpr MessageId nccl_mark = MessageId{1} << 61;

/// The first that limits the blocks of its kernels (ncclConfig_t::maxCTAs). Older ones read another
/// structure.
constexpr int oldest_version = NCCL_VERSION(2, 17, 0);

const NcclLibrary& nccl() { return NcclLibrary::loaded(); }

} // namespace

std::string nccl_version_text(int version)
{
    // Up to 2.8 a number had four digits.
    const int major = version / (version < 10000 ? 1000 : 10000);
    const int minor = version / 100 % (version < 10000 ? 10 : 100);
    return std::to_string(major) + "." + std::to_string(minor) + "." +
           std::to_string(version % 100);
}

void refuse_unfit_nccl(int version)
{
    if (const std::string why = why_no_nccl_in_this_environment(); !why.empty())
        throw usage_error(why, "messages between GPUs",
                          "unset it, or write pipeline.transport = \"mpi\"");
    if (version < oldest_version)
        throw usage_error("NCCL " + nccl_version_text(version) + " is older than " +
                              nccl_version_text(oldest_version),
                          "messages between GPUs",
                          "put the folder of a later one into LD_LIBRARY_PATH, or write "
                          "pipeline.transport = \"mpi\"");
}

std::string why_no_nccl()
{
    try {
        // The first of its calls that looks for a network. It takes what its configuration files
        // say (/etc/nccl.conf, ~/.nccl.conf, NCCL_CONF_FILE) into the environment.
        ncclUniqueId id{};
        check_nccl(nccl().get_unique_id(&id), "starting");
        const std::string why = why_no_nccl_in_this_environment();
        return why.empty() ? why : why + "; a configuration file of NCCL's sets it";
    } catch (const UserError& error) {
        return error.problem();
    } catch (const PeerError& error) {
        return error.what();
    }
}

std::string nccl_version()
{
    int version = 0;
    check_nccl(nccl().get_version(&version), "NCCL");
    return nccl_version_text(version);
}

void check_nccl(ncclResult_t result, const std::string& what)
{
    if (result == ncclSuccess)
        return;
    std::string text = what + ": " + nccl().get_error_string(result);
    // Of the whole process, and kept for good: it need not belong to this error.
    const char* const last = nccl().get_last_error(nullptr);
    if (last != nullptr && *last != '\0')
        text += "; the last that NCCL complained of: " + std::string(last);
    if (text.find("NCCL_DEBUG") == std::string::npos) // NCCL says so itself with some
        text += " (NCCL_DEBUG=WARN says more)";
    throw PeerError(text);
}

NcclConnection::NcclConnection(Device device, const ncclUniqueId& id, int num_ranks, int place,
                               int max_ctas, std::string name)
    : stream_(device, StreamPriority::high, 0), name_(std::move(name))
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.maxCTAs = max_ctas;
    check_nccl(nccl().comm_init_rank_config(&communicator_, num_ranks, id, place, &config),
               "connecting for " + name_);
}

NcclConnection::~NcclConnection() { nccl().comm_destroy(communicator_); }

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

TransportOverNccl::TransportOverNccl(Transport& host, std::shared_ptr<StreamWaits> waits)
    : TransportOver(host), compute_(waits->stream()), messages_(nccl_mark), waits_(std::move(waits))
{
    waits_->add(*this);
}

TransportOverNccl::~TransportOverNccl() { waits_->remove(*this); }

void TransportOverNccl::wait(MessageId id)
{
    if (!messages_.has(id)) {
        host().wait(id);
        return;
    }
    // From here on the host may wait for others wherever it waits for the computing stream.
    host().start_all();
    const std::size_t index = messages_.index_of(id);
    waits_->hold_back(*messages_[index].done, messages_[index].whom);
    messages_.remove(index);
}

void TransportOverNccl::progress()
{
    host().progress();
    check_connections();
    waits_->follow();
}

bool TransportOverNccl::is_done(MessageId id)
{
    return messages_.has(id) ? messages_[messages_.index_of(id)].done->reached()
                             : host().is_done(id);
}

void TransportOverNccl::await_greetings(std::span<const MessageId> ids)
{
    for (const MessageId id : ids)
        wait(id);
    sluice::synchronize(compute_);
}

void TransportOverNccl::follow_compute(const NcclConnection& connection)
{
    computed_.record(compute_);
    computed_.hold_back(connection.stream());
}

} // namespace sluice
