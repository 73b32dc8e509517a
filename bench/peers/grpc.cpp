// SPDX-License-Identifier: BSD-3-Clause
// grpc.cpp -- gRPC, unary calls without a broker. As its performance guide
// advises for many calls a second: the asynchronous API on completion queues,
// at the service one queue and one thread for each CPU with many calls
// requested ahead; at the client one channel and one stub, kept.
#include "echo.grpc.pb.h"
#include "peers.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

enum { AHEAD = 512, BATCH = 256 };

struct ServerCall {
    bench::Echo::AsyncService *service;
    grpc::ServerCompletionQueue *queue;
    grpc::ServerContext context;
    bench::Payload request;
    grpc::ServerAsyncResponseWriter<bench::Payload> writer{&context};
    bool answered = false;

    ServerCall(bench::Echo::AsyncService *s, grpc::ServerCompletionQueue *q)
        : service(s), queue(q) {
        service->RequestEcho(&context, &request, &writer, queue, queue, this);
    }
    void step(bool ok) {
        if (answered || !ok) {
            delete this;
            return;
        }
        new ServerCall(service, queue);
        answered = true;
        writer.Finish(request, grpc::Status::OK, this);
    }
};

struct ClientCall {
    uint64_t stamp;
    grpc::ClientContext context;
    bench::Payload answer;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<bench::Payload>> reader;
};

struct Rig {
    gi_spec_t *spec;
    bench::Echo::AsyncService service;
    std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
    std::unique_ptr<grpc::Server> server;
    std::vector<std::thread> threads;
    std::unique_ptr<bench::Echo::Stub> stub;
    grpc::CompletionQueue answers;
    bench::Payload request;
};

void serve(grpc::ServerCompletionQueue *queue) {
    void *tag;
    bool ok;
    while (queue->Next(&tag, &ok))
        static_cast<ServerCall *>(tag)->step(ok);
}

bool up_service(Rig *rig) {
    grpc::ServerBuilder builder;
    unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&rig->service);
    for (unsigned i = 0; i < cpus; i++)
        rig->queues.push_back(builder.AddCompletionQueue());
    rig->server = builder.BuildAndStart();
    if (!rig->server)
        return gi_peer_fail("grpc", "the server does not start");
    for (auto &queue : rig->queues) {
        for (int i = 0; i < AHEAD; i++)
            new ServerCall(&rig->service, queue.get());
        rig->threads.emplace_back(serve, queue.get());
    }
    snprintf(rig->spec->frontend, sizeof rig->spec->frontend, "127.0.0.1:%d",
             port);
    return true;
}

void *up(gi_spec_t *spec) {
    auto *rig = new Rig;
    rig->spec = spec;
    if (!(spec->parts & GI_SERVICE) || up_service(rig))
        return rig;
    delete rig;
    return nullptr;
}

void down(void *self) {
    auto *rig = static_cast<Rig *>(self);
    if (rig->server) {
        rig->server->Shutdown(std::chrono::system_clock::now());
        for (auto &queue : rig->queues)
            queue->Shutdown();
        for (auto &thread : rig->threads)
            thread.join();
    }
    rig->answers.Shutdown();
    delete rig;
}

bool prepare(gi_lane_t *lane) {
    auto *rig = static_cast<Rig *>(lane->self);
    rig->request.set_data(std::string(lane->load->size, 'x'));
    return lane->load->size >= GI_PEER_HEAD;
}

bool send(gi_lane_t *lane, uint64_t stamp) {
    auto *rig = static_cast<Rig *>(lane->self);
    auto *call = new ClientCall;
    call->stamp = stamp;
    call->reader =
        rig->stub->AsyncEcho(&call->context, rig->request, &rig->answers);
    call->reader->Finish(&call->answer, &call->status, call);
    return true;
}

void reap(gi_lane_t *lane, int64_t wait_ns) {
    auto *rig = static_cast<Rig *>(lane->self);
    auto wait = std::chrono::nanoseconds(wait_ns);
    void *tag;
    bool ok;
    for (int i = 0; i < BATCH; i++) {
        auto until =
            i ? gpr_timespec{0, 0, GPR_CLOCK_MONOTONIC}
              : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                             gpr_time_from_nanos(wait.count(), GPR_TIMESPAN));
        if (rig->answers.AsyncNext(&tag, &ok, until) !=
            grpc::CompletionQueue::GOT_EVENT)
            return;
        std::unique_ptr<ClientCall> call(static_cast<ClientCall *>(tag));
        gi_lane_done(lane, call->stamp,
                     ok && call->status.ok() &&
                         call->answer.data().size() == lane->load->size);
    }
}

bool make(void *self, int, gi_lane_t *lane) {
    auto *rig = static_cast<Rig *>(self);
    auto channel = grpc::CreateChannel(rig->spec->frontend,
                                       grpc::InsecureChannelCredentials());
    rig->stub = bench::Echo::NewStub(channel);
    memset(lane, 0, sizeof *lane);
    lane->self = rig;
    lane->prepare = prepare;
    lane->send = send;
    lane->reap = reap;
    return channel->WaitForConnected(std::chrono::system_clock::now() +
                                     std::chrono::seconds(20)) ||
           gi_peer_fail("grpc", "no connection");
}

} // namespace

extern "C" const gi_kind_t gi_kind_grpc = {"grpc", GI_SERVICE | GI_CLIENT, up,
                                           make, down};
